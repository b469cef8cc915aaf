import { createHash } from 'node:crypto';
import { AnalysisError } from '../errors.ts';

/**
 * Text that is HTML already. Only this module makes it, and a private field tells it from an object of the same shape:
 * what comes out of JSON is never taken for it.
 */
class Fragment {
  readonly #source: string;

  constructor(source: string) {
    this.#source = source;
  }

  /** The HTML of a fragment, or null when `value` is none. */
  static sourceOf(value: unknown): string | null {
    return typeof value === 'object' && value !== null && #source in value ? value.#source : null;
  }
}

/** HTML that may go into a page as it is. */
export type Html = Fragment;

/**
 * Template tag: strings and numbers are escaped, `Html` goes in as it is.
 * @throws AnalysisError REPORT_DATA for anything else
 */
export function html(parts: TemplateStringsArray, ...values: readonly (string | number | Html)[]): Html {
  const filled = parts.map((part, n) => (n < values.length ? part + inserted(values[n]) : part));
  return new Fragment(filled.join(''));
}

function inserted(value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return escapeHtml(String(value));
  const source = Fragment.sourceOf(value);
  if (source !== null) return source;
  throw new AnalysisError(
    'REPORT_DATA',
    `report: ${JSON.stringify(value)?.slice(0, 80)} is ${typeof value}; expected text or a number`,
  );
}

/** The fragments one after another. */
export function join(pieces: readonly Html[]): Html {
  return new Fragment(pieces.map(textOf).join('\n'));
}

/** HTML as text. */
export function textOf(fragment: Html): string {
  return inserted(fragment);
}

/** Text as HTML shows it, in elements and in quoted attributes. */
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
  return new Fragment(`<script type="application/json" id="${escapeHtml(id)}">${json}</script>`);
}

/** A program of this package inside a script element, and what a content security policy calls it. */
export function script(source: string): { element: Html; hash: string } {
  // "</script" can only stand in a string or a regular expression, where the backslash changes nothing.
  const safe = source.replace(/<\/script/gi, '<\\/script');
  const hash = createHash('sha256').update(safe).digest('base64');
  return { element: new Fragment(`<script>${safe}</script>`), hash: `'sha256-${hash}'` };
}

/** The page's styles, which are this package's own. */
export function style(css: string): Html {
  return new Fragment(`<style>${css.replace(/<\/style/gi, '<\\/style')}</style>`);
}
