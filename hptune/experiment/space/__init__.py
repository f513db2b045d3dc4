"""The search space: domains, the conditions under which they are active, and `$name` references to them."""
