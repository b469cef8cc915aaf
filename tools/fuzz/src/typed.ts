/** Names of errors that say a program went wrong, not its input. */
const UNTYPED = new Set([
  'Error',
  'TypeError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'URIError',
  'EvalError',
  'AggregateError',
  'DOMException',
  'InternalError',
]);

/**
 * Whether an error is one that the project throws on purpose: it has a class of its own and a stable code. A system error
 * (ENOENT, EISDIR) counts as untyped too: a reader turns it into its own error, which names the file and the fix.
 */
export function isTyped(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  return !UNTYPED.has(error.name) && typeof code === 'string' && error.message.length > 0;
}
