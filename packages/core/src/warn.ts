/**
 * Tells the user something that is no error: a process warning named `LazyAttentionWarning` where there are such, else a line
 * on the console.
 */
export function warn(message: string): void {
  if (typeof globalThis.process?.emitWarning === 'function') process.emitWarning(message, 'LazyAttentionWarning');
  else console.warn(message);
}
