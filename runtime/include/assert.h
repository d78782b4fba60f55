/* assert.h: in front of libc's, which does not expect that there is an assert already. */
#undef assert
#include_next <assert.h>
