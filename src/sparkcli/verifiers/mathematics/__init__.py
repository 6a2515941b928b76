"""Behind `math`, in the order of use.

plain       what needs no algebra                    limits      what is refused, and why
formulas    common LaTeX, read without a grammar     evaluation  its values, with 50 digits
arithmetic  equality by these values                 rewriting   notations that math-verify misreads
parsing     math-verify's grammar                    symbolic    the rest, with sympy
values      equality of parsed expressions by values
"""
