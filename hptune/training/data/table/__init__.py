"""Tables: how cells are read, which columns are used and for what, and how free text is cut into words."""
