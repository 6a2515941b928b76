"""Behind `math`, in the order of use.

characters  the same text in the characters of TeX    plain       what needs no algebra
notation    times, ratios, dates and others           notation_equality  which of them are equal
prose       gold answers that are sentences           limits      what is refused, and why
latex       common LaTeX without a grammar            trees       what it reads
formulas    what of it can mean one thing only        evaluation  its values, with 50 digits
arithmetic  equality by these values                  rewriting   notations that math-verify misreads
letters     styles, accents, units, d and i           separators  commas, words and rows between values
parsing     math-verify's grammar                     symbolic    the rest, with sympy
values      equality of parsed expressions by values
"""
