/* filter2d.c: a template, one source for real and complex dtypes.
 *
 *     tw.templates.filter2d(np.arange(30.).reshape(5, 6))       interior 4*a, border 0
 *
 * A pointer to each of the three rows at hand: TinyCC computes a[i][j] anew at every use, which takes three
 * times as long. tw_mul and tw_add work on any T; the weights are floats, so that float32 is not widened.
 */
#pragma tinyweave T "fdFD"

/* Filter an image with a 3x3 window.

   a : array of T, shape (m, n)
   b : array of T, shape (m, n); in the interior a + half of the four edge neighbours + a quarter of
       the four corners, on the border zero */
void filter2d(long m, long n, const T a[m][n], out T b[m][n])
{
    for (long i = 1; i < m - 1; i++) {
        const T *north = a[i - 1], *here = a[i], *south = a[i + 1];
        T *to = b[i];
        for (long j = 1; j < n - 1; j++) {
            T edges = tw_add(north[j], south[j], here[j - 1], here[j + 1]);
            T corners = tw_add(north[j - 1], north[j + 1], south[j - 1], south[j + 1]);
            to[j] = tw_add(here[j], tw_mul(.5f, edges), tw_mul(.25f, corners));
        }
    }
}
