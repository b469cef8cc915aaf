import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './snippets.mjs';

const FOLDER = 'docs/quick-starts';
const BLOCK = /(?:<!-- (file|needs|serves|output)(?:: ([^\n]+?))? -->\r?\n+)?```(\w*)\r?\n([\s\S]*?)```/g;

/** The quick starts: [{ file, name, steps }]. */
export function stories() {
  return readdirSync(join(root, FOLDER))
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => {
      const file = `${FOLDER}/${name}`;
      return { file, name: name.slice(0, -3), steps: stepsOf(file, readFileSync(join(root, file), 'utf8')) };
    });
}

/**
 * What a page has its reader do, in order: `{ write, code }` is a file, `{ run, needs?, serves?, prints }` commands, with what must be
 * there, the element of a page that they serve, and lines that they print. Every block of code is one of these.
 */
export function stepsOf(file, text) {
  const steps = [];
  for (const [, mark, about, language, code] of text.matchAll(BLOCK)) {
    if (mark === 'file') steps.push({ write: about, code });
    else if (language === 'sh') steps.push({ run: code, ...(mark ? { [mark]: about } : {}), prints: [] });
    else if (mark === 'output') steps.at(-1).prints.push(...code.trimEnd().split(/\r?\n/));
    else throw new Error(`${file}: a block of ${language || 'code'} is no file, no command and no output of one`);
  }
  return steps;
}

/**
 * Does in `folder` what a page says. `lacks(name)`: why something is not there, or null. `visit(url, selector, lines)`:
 * what stands in that element of the page once these lines do, or null where nobody can look.
 *
 * @returns why it had to stop before the end, or null
 * @throws Error with the commands and their output, where these fail or do not print what the page shows
 */
export async function follow({ file, steps }, { folder, env, lacks, visit }) {
  for (const { write, code, run, needs, serves, prints } of steps) {
    if (write !== undefined) {
      mkdirSync(dirname(join(folder, write)), { recursive: true });
      writeFileSync(join(folder, write), code);
      continue;
    }
    const reason = needs === undefined ? null : lacks(needs);
    if (reason !== null) return reason;
    const output =
      serves === undefined
        ? ran(file, run, folder, env)
        : await served(run, { folder, env }, (url) => visit(url, serves, prints));
    if (output !== null) shown(file, run, prints, output);
  }
  return null;
}

function ran(file, code, cwd, env) {
  const { status, stdout, stderr, error } = spawnSync('bash', ['-euc', code], { cwd, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${file}: ${code}\n${stdout}\n${stderr}${error ?? ''}`);
  return stdout;
}

/** Starts a server, gives the address that it prints to `visit`, and ends it and what it started. @returns what `visit` gives */
export async function served(code, { folder: cwd, env }, visit) {
  const server = spawn('bash', ['-euc', code], { cwd, env, detached: true });
  try {
    const url = await new Promise((resolve, reject) => {
      let said = '';
      const read = (data) => {
        said += data;
        // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of a terminal
        const found = /https?:\/\/[\w.:/-]+/.exec(said.replaceAll(/\x1b\[\d*m/g, ''));
        if (found !== null) resolve(found[0]);
      };
      server.stdout.on('data', read);
      server.stderr.on('data', read);
      server.on('error', reject);
      server.on('exit', () => reject(new Error(`${code}the server ended: ${said}`)));
    });
    return await visit(url);
  } finally {
    try {
      process.kill(-server.pid);
    } catch {
      // It has ended, and said why.
    }
  }
}

function shown(file, code, prints, output) {
  let rest = output;
  for (const line of prints) {
    const at = rest.indexOf(line);
    if (at < 0) throw new Error(`${file}: ${code}does not print '${line}':\n${output}`);
    rest = rest.slice(at + line.length);
  }
}
