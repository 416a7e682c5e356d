NASTY = "<script>alert('&')</script>\"x"
"""A name that breaks a page which does not escape it."""
