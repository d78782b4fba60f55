double x = 1;
double y = 2 // error: ';' expected (got 'x')
x = y;
// ----
double x = sqr(2.0); // error: undeclared function 'sqr'; did you mean 'sqrt'?
// ----
double total = 0;
totla += 1; // error: undeclared name 'totla'; did you mean 'total'?
// ----
double x = foo // error: undeclared name 'foo'

    ;
// ----
doubel x = 1; // error: undeclared name 'doubel'; did you mean 'double'?
// ----
double x;
x = 1 + // error: expression expected at the end of code
// ----
double x; do x = 1 // error: ';' expected (got 'while'
while (1);
// ----
if (a) // fine: our own ';' follows
    sin(1);
else
// ----
do a; // error: 'while' expected at the end of code
// ----
int x = 3 4; // error: ';' expected (got '4')
// ----
goto done; // error: label 'done' used but not defined
// ----
int x;
int x; // error: redeclaration of 'x'
// ----
struct s { int a; } s;
s.b = 1; // error: field not found: b
// ----
sin(1, 2); // error: too many arguments to function
// ----
return_val = a; // error: return_val cannot be a 'const double *': give a number, a string, a complex or a PyObject *
// ----
return_val = 1.5, 2; // error: return_val takes one expression
// ----
a[0] = 1; // error: assignment of read-only location
// ----
double *b = a; // error: a pointer to const
// ----
#error stop here // error: #error stop here
// ----
x
 // the place is behind the x  // error: none
// ----
break; // error: cannot break
// ----
3 = 4; // error: lvalue expected
// ----
int i = "a"->b; // error: struct or union expected
// ----
void g(void) { } // error: cannot use local functions
// ----
_Static_assert(1 > 2, "too small"); // error: too small
// ----
if (a) {
    return 3; // error: return_val
}
// ----
if (a) {
    sin(1); } } // error: unbalanced '}'
// ----
for (int i = 0; i < 3; i++) { // error: '{' is never closed
    sin(i);
