/** 0, 1, ... n - 1: for unrolling in templates. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** One line per number below `n`. */
export const unroll = (n: number, line: (i: number) => string): string => range(n).map(line).join('\n');

/**
 * Code that `threads` invocations run so that `item` takes every value below `count`. Unrolled, loads overlap; as a loop
 * the text is short, for drivers whose compilers are slow.
 */
export function distribute(count: number, threads: number, code: string, unrolled: boolean): string {
  if (count > threads && !unrolled) return `for (var item = lane; item < ${count}u; item += ${threads}u) {\n${code}\n}`;
  return unroll(Math.ceil(count / threads), (round) => {
    const item = `let item = lane + ${round * threads}u;`;
    const partial = (round + 1) * threads > count;
    return partial ? `{\n${item}\nif (item < ${count}u) {\n${code}\n}\n}` : `{\n${item}\n${code}\n}`;
  });
}

/** Braces and line ends decide the indentation, so templates need not care. */
export function format(code: string): string {
  let depth = 0;
  const lines: string[] = [];
  for (const raw of code.split('\n')) {
    const line = raw.trim();
    if (line === '') continue;
    const closes = /^[})]/.test(line);
    if (closes) depth--;
    lines.push('  '.repeat(Math.max(depth, 0)) + line);
    const opened = (line.match(/[{(]/g) ?? []).length - (line.match(/[})]/g) ?? []).length;
    depth += opened + (closes ? 1 : 0);
  }
  return `${lines.join('\n')}\n`;
}
