/** The streams of core, under the names that this package has always had. */
export { normal, uniform } from '@lazy-attention/core';
