/* add.c: a template, one source for every dtype.
 *
 *     tw.templates.add([1, 2, 3], [4, 5, 6])             array([5, 7, 9])
 *
 * T stands for the dtype that NumPy would give the result; the list below is of those it may stand for.
 * tw_add adds numbers of any T: C's operators know nothing of complex structs, and for real T it is the
 * plain +. With T complex this is `zadd`, the first example of f2py's manual.
 */
#pragma tinyweave T "bBhHiIlLqQfdFD"

/* Add two arrays of the same length.

   a, b : array of T, shape (n,)
   c : array of T, shape (n,); a + b
   Integers that leave T's range wrap around, as in NumPy. */
void add(long n, const T a[n], const T b[n], out T c[n])
{
    for (long i = 0; i < n; i++) {
        c[i] = tw_add(a[i], b[i]);
    }
}
