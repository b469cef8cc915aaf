/** Text that is HTML already. Made by `html` alone, which escapes what it is given. */
export interface Html {
  readonly source: string;
}

/** Template tag: strings and numbers are escaped, `Html` goes in as it is. */
export function html(parts: TemplateStringsArray, ...values: readonly (string | number | Html)[]): Html {
  const filled = parts.map((part, n) => {
    if (n >= values.length) return part;
    const value = values[n];
    return part + (typeof value === 'object' ? value.source : escapeHtml(String(value)));
  });
  return { source: filled.join('') };
}

export function join(pieces: readonly Html[]): Html {
  return { source: pieces.map(({ source }) => source).join('\n') };
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** JSON inside a script element: no text in it can end the element. */
export function jsonScript(id: string, value: unknown): Html {
  const json = JSON.stringify(value).replaceAll('<', '\\u003c').replaceAll('\u2028', '\\u2028');
  return { source: `<script type="application/json" id="${id}">${json}</script>` };
}

/** A program inside a script element. */
export function script(type: '' | 'module', source: string): Html {
  // "</script" can only stand in a string or a regular expression, where the backslash changes nothing.
  const safe = source.replace(/<\/script/gi, '<\\/script');
  return { source: `<script${type === '' ? '' : ` type="${type}"`}>${safe}</script>` };
}
