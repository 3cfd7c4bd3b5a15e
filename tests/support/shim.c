/* SoftHSM, answering as another module does. Each -D below is one way; see tests/support/shims.py. */
#include <dlfcn.h>
#include <string.h>

typedef unsigned long U;
typedef unsigned char B;
typedef struct { B major, minor; } Version;
typedef struct { Version version; void *at[68]; } List; /* CK_FUNCTION_LIST: at[n] is the standard's n-th function */
typedef struct { U type; void *value; U length; } Attribute;

enum { INITIALIZE = 0, SLOT_INFO = 5, TOKEN_INFO = 6, MECHANISMS = 7, ATTRIBUTES = 24, FIND_INIT = 26, FIND = 27, GENERATE_PAIR = 59 };
enum { CKA_CLASS = 0, CKA_ENCRYPT = 0x104, CKA_DECRYPT = 0x105, CKA_COPYABLE = 0x171,
       CKA_EC_PARAMS = 0x180, CKA_EC_POINT = 0x181, CKA_LOCAL = 0x163 };
enum { OK = 0, GENERAL_ERROR = 5, TYPE_INVALID = 0x12, DEVICE_ERROR = 0x30 };

static List real, mine, other;

/* Whether a template asks for this attribute to be false. */
__attribute__((unused)) static int has(const Attribute *template, U count, U type) {
    for (U i = 0; i < count; i++) if (template[i].type == type && !*(B *)template[i].value) return 1;
    return 0;
}

#if defined(SLOT) || defined(TOKEN)
static U token_info(U slot, char *info) {
    U code = ((U (*)(U, char *))real.at[TOKEN_INFO])(slot, info);
    return code == OK && !memcmp(info, "other", 5) ? DEVICE_ERROR : code;
}
#endif
#ifdef SLOT
static U slot_info(U slot, void *info) {
    char token[256];
    U code = ((U (*)(U, char *))real.at[TOKEN_INFO])(slot, token);
    return code == OK && !memcmp(token, "other", 5) ? DEVICE_ERROR : ((U (*)(U, void *))real.at[SLOT_INFO])(slot, info);
}
#endif

static U attributes(U session, U object, Attribute *wanted, U count) {
    U code;
#ifdef OWN_OBJECTS
    if (object == 0xffff0001) { /* an object that nobody made: a mechanism */
        for (U i = 0; i < count; i++) {
            if (wanted[i].type == CKA_CLASS) { if (wanted[i].value) *(U *)wanted[i].value = 7; wanted[i].length = sizeof(U); }
            else { wanted[i].length = (U)-1; code = TYPE_INVALID; return code; }
        }
        return OK;
    }
#endif
#ifdef NO_COPYABLE
    for (U i = 0; i < count; i++) if (wanted[i].type == CKA_COPYABLE) { wanted[i].length = (U)-1; return TYPE_INVALID; }
#endif
    code = ((U (*)(U, U, Attribute *, U))real.at[ATTRIBUTES])(session, object, wanted, count);
#ifdef RAW_POINT
    for (U i = 0; i < count; i++) {
        B *point = wanted[i].value;
        if (wanted[i].type != CKA_EC_POINT || !point || wanted[i].length < 2 || point[0] != 4 ||
            point[1] != wanted[i].length - 2) continue;
        wanted[i].length -= 2;
        memmove(point, point + 2, wanted[i].length);
    }
#endif
#ifdef NOT_LOCAL
    for (U i = 0; i < count; i++) if (wanted[i].type == CKA_LOCAL && wanted[i].value) *(B *)wanted[i].value = 0;
#endif
    return code;
}

static U generate(U session, void *mechanism, Attribute *public, U publics, Attribute *private, U privates, U *a, U *b) {
#ifdef NO_COPYABLE
    if (has(private, privates, CKA_COPYABLE)) return NO_COPYABLE;
#endif
#ifdef CURVE_NAME
    static B oid[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
    Attribute copy[32]; /* the caller frees what it put into its own */
    if (publics > 32) return GENERAL_ERROR;
    memcpy(copy, public, publics * sizeof *public);
    public = copy;
    for (U i = 0; i < publics; i++) {
        B *curve = public[i].value;
        if (public[i].type != CKA_EC_PARAMS || public[i].length == 10) continue; /* P-256 */
        if (curve[0] == 0x06) return 0x140; /* CKR_CURVE_NOT_SUPPORTED */
        public[i].value = oid;
        public[i].length = sizeof oid;
    }
#endif
#ifdef MUST_DECRYPT
    if (has(private, privates, CKA_DECRYPT) || has(public, publics, CKA_ENCRYPT)) return GENERAL_ERROR;
#endif
    return ((U (*)(U, void *, Attribute *, U, Attribute *, U, U *, U *))real.at[GENERATE_PAIR])(
        session, mechanism, public, publics, private, privates, a, b);
}

#ifdef OWN_OBJECTS
static int shown;
static U find_init(U session, Attribute *template, U count) {
    shown = count != 0;
    return ((U (*)(U, Attribute *, U))real.at[FIND_INIT])(session, template, count);
}
static U find(U session, U *objects, U most, U *count) {
    if (!shown && most) { shown = 1; objects[0] = 0xffff0001; *count = 1; return OK; }
    return ((U (*)(U, U *, U, U *))real.at[FIND])(session, objects, most, count);
}
#endif

#ifdef NO_EDDSA
static U mechanisms(U slot, U *found, U *count) {
    U room = *count, all[512], total = 512, kept = 0;
    U code = ((U (*)(U, U *, U *))real.at[MECHANISMS])(slot, all, &total);
    if (code != OK) return code;
    for (U i = 0; i < total; i++) {
        if (all[i] == 0x1055 || all[i] == 0x1057) continue; /* CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA */
        if (found && kept < room) found[kept] = all[i];
        kept++;
    }
    *count = kept;
    return found && kept > room ? 0x150 : OK;
}
#endif

static U initialize(void *arguments) {
#ifdef REFUSES_TO_START
    (void)arguments;
    return REFUSES_TO_START;
#else
    return ((U (*)(void *))real.at[INITIALIZE])(arguments);
#endif
}
static U initialize_other(void *arguments) { (void)arguments; return OK; }

U C_GetFunctionList(List **list) {
    static int asked;
    if (!asked++) {
        List *found;
        void *library = dlopen(SOFTHSM, RTLD_NOW);
        ((U (*)(List **))dlsym(library, "C_GetFunctionList"))(&found);
        real = mine = *found;
        mine.at[INITIALIZE] = initialize;
        mine.at[ATTRIBUTES] = attributes;
        mine.at[GENERATE_PAIR] = generate;
#ifdef TOKEN
        mine.at[TOKEN_INFO] = token_info;
#endif
#ifdef SLOT
        mine.at[SLOT_INFO] = slot_info;
        mine.at[TOKEN_INFO] = token_info;
#endif
#ifdef OWN_OBJECTS
        mine.at[FIND_INIT] = find_init;
        mine.at[FIND] = find;
#endif
#ifdef NO_EDDSA
        mine.at[MECHANISMS] = mechanisms;
#endif
        other = mine; /* p11-kit: each caller has a list of its own, started for itself */
        other.at[INITIALIZE] = initialize_other;
    }
#ifdef LIST_EACH
    *list = asked == 1 ? &mine : &other;
#else
    *list = &mine;
#endif
    return OK;
}
