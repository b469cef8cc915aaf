import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { deadCitations, headingsOf } from '../lib/checks/citations.mjs';
import { unformatted } from '../lib/checks/clang-format.mjs';
import { importCircles } from '../lib/checks/import-circles.mjs';
import { comparedKinds, kindNames } from '../lib/checks/kind-names.mjs';
import { longFiles, longFunctions, unexplained } from '../lib/checks/sizes.mjs';
import { ownFiles, SOURCE } from '../lib/checks/sources.mjs';
import { root } from '../lib/workspaces.mjs';
import { wideProse, wrapProse } from '../lib/wrap.mjs';

const file = (path, ...lines) => ({ path, text: lines.join('\n') });

describe('import circles', () => {
  it('are found through values, types, re-exports and dynamic imports', () => {
    const circle = [
      file('a/one.ts', "import type { Two } from './two.ts';"),
      file('a/two.ts', "export * from '../b/three.ts';"),
      file('b/three.ts', "const one = await import('../a/one.ts');"),
      file('b/outside.ts', "import './three.ts';"),
    ];
    expect(importCircles(circle)).toEqual(['import circle of 3 files: a/one.ts, a/two.ts, b/three.ts']);
    expect(importCircles(circle.slice(1))).toEqual([]);
  });

  it('are not seen in comments, and not made of packages or files that are not there', () => {
    const files = [
      file('a.ts', "import { b } from './b.ts';", "import './c.ts';"),
      file('b.ts', "// import './a.ts'", "/* from './a.ts' */", "import x from 'a.ts';"),
    ];
    expect(importCircles(files)).toEqual([]);
  });
});

describe('citations', () => {
  const mark = 'spec \u00a7';
  const headings = headingsOf('# The mathematics\n\n## Not a number\n\n## Forward\ntext\n');

  it('of a heading pass, whatever follows its name, and a name may go on in the next line', () => {
    const lines = [`// ${mark}Forward: s_ij`, `// see ${mark}Not a number.`, ` * as in ${mark}Not`, ' * a number'];
    expect(deadCitations([file('a.ts', ...lines)], headings)).toEqual([]);
  });

  it('of anything else are found', () => {
    const lines = [`// ${mark}Forwards`, `// ${mark}4.2 and ${mark}Forward`];
    const found = deadCitations([file('a.ts', ...lines)], headings);
    expect(found).toHaveLength(2);
    expect(found[0]).toContain(`a.ts:1 cites '${mark}Forwards'`);
  });
});

describe('sizes', () => {
  const body = (lines, indent = '  ') => Array.from({ length: lines }, (_, i) => `${indent}x${i};`);

  it('finds files of more than 500 lines', () => {
    expect(longFiles([file('a.ts', ...body(500)), file('b.ts', ...body(501))])).toEqual([
      'b.ts has 501 lines; at most 500: divide it',
    ]);
  });

  it.each([
    ['a.ts', 'export async function long(', 'long', ''],
    ['a.ts', 'export function long(a: number): void {', 'long', ''],
    ['a.ts', 'const long = (a: number) => {', 'long', ''],
    ['a.ts', '  async long(a: number): Promise<void> {', 'long', '  '],
    ['a.ts', '    long: (a) => {', 'long', '    '],
    ['a.cpp', 'void Queue::long(int a) {', 'long', ''],
    ['a.cu', '__global__ void __launch_bounds__(Shape::threads, 1)\n    long(Args args) {', 'long', ''],
    ['a.cu', 'static __global__ void __launch_bounds__(256) long(Args args) {', 'long', ''],
  ])('finds long functions in %s: %s', (path, head, name, indent) => {
    const lines = head.endsWith('{') ? [head] : [head, `${indent}  a: number,`, `${indent}) {`];
    const whole = [...lines, ...body(80, `${indent}  `), `${indent}}`, ...body(200, '')];
    expect(longFunctions([file(path, ...whole)])).toEqual([
      { id: `${path} ${name}`, lines: lines.join('\n').split('\n').length + 81 },
    ]);
    const short = [...lines, ...body(60, `${indent}  `), `${indent}}`, ...body(200, '')];
    expect(longFunctions([file(path, ...short)])).toEqual([]);
  });

  it('wants a reason for each, and no reason for others', () => {
    const long = [{ id: 'a.ts f', lines: 90 }];
    expect(unexplained(long, { 'a.ts f': 'a table' })).toEqual([]);
    expect(unexplained(long, {})).toEqual([expect.stringContaining('a.ts f has 90 lines')]);
    expect(unexplained([], { 'a.ts f': 'a table' })).toEqual([expect.stringContaining('no longer')]);
  });
});

describe('kinds of attention', () => {
  const path = 'packages/nn/src/attention/built-in.ts';
  const names = kindNames([{ path, text: "    name: 'lazy',\n    name: 'alibi',\n" }]);

  it('are those of the table', () => expect(names).toEqual(['lazy', 'alibi']));

  it('are not compared by name outside it', () => {
    const found = (text, where = 'packages/onnx/src/a.ts') => comparedKinds([{ path: where, text }], names);
    expect(found("if (config.attention === 'lazy') {")).toEqual([expect.stringContaining('a.ts:1 compares')]);
    expect(found("arms.find(({ kind }) => kind !== 'alibi')")).toHaveLength(1);
    expect(found("if (kind.fused.bias === 'alibi') {")).toEqual([]);
    expect(found("const kind = 'lazy';")).toEqual([]);
    expect(found("kind === 'lazy'", path)).toEqual([]);
  });
});

describe('clang-format', () => {
  it('finds a file out of format', () => {
    const path = join(root, 'tools/setup/test/out-of-format.tmp.cpp');
    onTestFinished(() => rmSync(path, { force: true }));
    writeFileSync(path, 'int f( int a ){return a;}\n');
    expect(unformatted([path])).toEqual([expect.stringContaining('out-of-format.tmp.cpp is not as clang-format')]);
    writeFileSync(path, 'int a;\n');
    expect(unformatted([path])).toEqual([]);
  });
});

it('sources are those that people read: no tests, no fixtures', () => {
  const sources = ownFiles().filter((path) => SOURCE.test(path));
  expect(sources).toContain('packages/core/src/index.ts');
  expect(sources).toContain('tools/setup/lib/checks/sources.mjs');
  expect(sources.filter((path) => path.includes('/test/'))).toEqual([]);
});

describe('prose', () => {
  const words = (count) => Array.from({ length: count }, (_, i) => `word${i % 10}`).join(' ');

  it('is broken at 120 columns, list items under their text', () => {
    const wrapped = wrapProse(`${words(30)}\n\n- ${words(25)}\n  and more\n`).split('\n');
    expect(wrapped.every((line) => line.length <= 120)).toBe(true);
    expect(wrapped.join(' ').replaceAll(/\s+/g, ' ')).toBe(`${words(30)} - ${words(25)} and more `);
    expect(wrapped[3]).toMatch(/^- word0/);
    expect(wrapped[4]).toMatch(/^ {2}word/);
  });

  it('keeps what is narrow, spans of code whole, and a mark behind its word', () => {
    const narrow = 'short\nlines\nstay\n';
    expect(wrapProse(narrow)).toBe(narrow);
    const code = `${'x'.repeat(100)} \`a span of code that is long\` end`;
    expect(wrapProse(code)).toBe(`${'x'.repeat(100)}\n\`a span of code that is long\` end`);
    expect(wrapProse(`${'x'.repeat(118)} - b c`)).toBe(`${'x'.repeat(118)} -\nb c`);
  });

  it('keeps code, tables, generated tables, front matter, headings and lines without a space', () => {
    const long = 'y '.repeat(100).trim();
    for (const text of [
      `\`\`\`\n${long}\n\`\`\`\n`,
      `text\n\n    ${long}\n    next --flag\n`,
      `| ${long} |\n`,
      `<!-- table a -->\n${long}\n<!-- end -->\n`,
      `---\nname: ${long}\n---\ntext\n`,
      `# ${long}\n`,
      `${'z'.repeat(200)}\n`,
    ]) {
      expect(wrapProse(text)).toBe(text);
    }
  });

  it('names the file and the line', () => {
    expect(wideProse([file('a.md', 'x', '', words(30)), file('b.md', 'x')])).toEqual([
      'a.md:3: prose wider than 120 columns; npm run format breaks it',
    ]);
  });
});
