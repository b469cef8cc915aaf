import { expect, it } from 'vitest';
import { home, movedLinks } from '../lib/links.mjs';

const place = ({ path, anchor, picture }) => `<${path}${anchor}${picture ? '!' : ''}>`;
const moved = (text) => movedLinks(text, 'docs/README.md', place);

it('changes links and pictures, and nothing in code', () => {
  const text = '[`a`](faq.md#x) `[x](y)` [![p](architecture.svg)](../README.md)\n```\n[c](d)\n```\n';
  expect(moved(text)).toBe(
    '[`a`](<docs/faq.md#x>) `[x](y)` [![p](<docs/architecture.svg!>)](<README.md>)\n```\n[c](d)\n```\n',
  );
  expect(moved('<img alt="" src="architecture.svg" width="3">')).toBe(
    '<img alt="" src="<docs/architecture.svg!>" width="3">',
  );
  for (const whole of ['[a](#here)', '[a](https://example.org/)', '[a](mailto:a@example.org)'])
    expect(moved(whole)).toBe(whole);
});

it('may not link to what is not there', () => {
  expect(() => moved('[a](nowhere.md)')).toThrow('docs/README.md: link to nowhere.md, which is not there');
});

it('the sources are at home where package.json says, or where the workflow runs', () => {
  const repository = { url: 'git+https://example.org/other.git' };
  expect(home({ repository }, {})).toEqual({ url: repository.url, web: 'https://example.org/other' });
  const env = { GITHUB_SERVER_URL: 'https://example.org', GITHUB_REPOSITORY: 'a/b' };
  expect(home({ repository }, env).web).toBe('https://example.org/a/b');
});
