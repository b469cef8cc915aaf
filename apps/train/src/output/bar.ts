/** Most and least columns of the bar itself; with less room there is none. */
const WIDEST = 40;
const NARROWEST = 8;

/**
 * A line of progress that fits `columns`: a bar, `done/total`, and as many of `parts`, the most important first, as there is
 * room for. One column stays free, for terminals wrap a line that is full.
 */
export function barLine(columns: number, done: number, total: number, parts: readonly string[]): string {
  const room = Math.max(1, columns - 1);
  let text = `${done}/${total}`;
  for (const part of parts) {
    if (text.length + 2 + part.length > room) break;
    text += `  ${part}`;
  }
  const width = Math.min(WIDEST, room - text.length - 1);
  if (width < NARROWEST) return text.slice(0, room);
  const full = Math.round(width * Math.min(1, total > 0 ? done / total : 1));
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${text}`;
}
