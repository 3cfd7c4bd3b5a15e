"""Small sabotages of the safety modules, one at a time, to find those that no test notices.

`make mutants` runs them; `campaign.toml` names the modules with their tests, and the survivors that harm nothing.
"""
