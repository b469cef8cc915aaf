/** Of this package, as in its package.json. */
export const VERSION = '0.1.0';

/** This copy of core, for messages: its version and where it was loaded from. */
export const THIS_COPY = `@lazy-attention/core ${VERSION} (${import.meta.url})`;
