"""One pure module per noun: `decide` gives events or a refusal, `evolve` folds an event into authority."""
