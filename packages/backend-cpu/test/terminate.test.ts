import { execFile, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { runTermination } from '@lazy-attention/conformance/vitest';
import { describe, expect, test } from 'vitest';

// What ends while work is under way ends alone. Everything runs in child processes: what fails here aborts its process.

const run = promisify(execFile);
const dist = new URL('../dist/index.js', import.meta.url).href;

runTermination({ module: dist, options: { threads: 2 } });

const DISPOSED = `
  const { provider } = await import(process.argv[1]);
  const kernels = await provider.create({});
  const x = { buffer: kernels.full([4], 1, 'f32'), shape: [4], dtype: 'f32' };
  const settled = await Promise.allSettled([kernels.read(x), kernels.dispose(), kernels.dispose(), kernels.read(x)]);
  console.log(settled.map(({ status, reason }) => reason?.name ?? status).join(' '));
`;

test('every promise is settled: reads of before and after dispose, and dispose called twice', async () => {
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', DISPOSED, dist], { timeout: 60_000 });
  expect(stdout.trim()).toBe('fulfilled fulfilled fulfilled DeviceLostError');
}, 60_000);

const CROWD = `
  const { ceilings, provider } = await import(process.argv[1]);
  const tell = ({ name, message, fix }) => console.log(JSON.stringify([name, message, fix ?? '']));
  await provider.create({ threads: 1024 }).catch(tell);
  await ceilings({ threads: 1024, bytes: 1 << 16 }).catch(tell);
  const kernels = await provider.create({ threads: 2 });
  const buffer = kernels.full([3], 7, 'f32');
  console.log(JSON.stringify(String(await kernels.read({ buffer, shape: [3], dtype: 'f32' }))));
`;

/** What CROWD tells under limits of the shell's; `prefix` starts it, as another user say. */
async function crowd(limits: string, prefix = ''): Promise<unknown[]> {
  const shell = `${prefix === '' ? '' : `exec ${prefix} `}bash -c 'ulimit ${limits} || exit 9; exec "$0" --input-type=module -e "$1" "$2"' "$0" "$1" "$2"`;
  const { stdout } = await run('bash', ['-c', shell, process.execPath, CROWD, dist], { timeout: 120_000 });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

/** No limit of processes holds for root, who can be somebody else for a while. */
const NOBODY = process.getuid?.() === 0 ? 'setpriv --reuid=65534 --clear-groups' : '';

/** Whether that user can be had, read this checkout and run Node below the limit. */
function crowdable(): boolean {
  const shell = `${NOBODY} bash -c 'ulimit -u 300 && test -r "$1" && "$0" -e 0' "$0" "$1"`;
  return spawnSync('bash', ['-c', shell, process.execPath, fileURLToPath(dist)]).status === 0;
}

describe.skipIf(process.platform !== 'linux')('threads that cannot be started (limits as Linux has them)', () => {
  const tooFew = [
    'BackendUnavailableError',
    expect.stringMatching(/the system started \d+ of 1024 threads: /),
    expect.stringMatching(/^ask for fewer with the option threads or LAZY_ATTENTION_THREADS, or raise the limit/),
  ];

  test('under a limit of processes: a typed error with their number and what to do, and the backend works', async (context) => {
    if (!crowdable())
      context.skip('no user without rights can run Node on this checkout under a limit of 300 processes');
    expect(await crowd('-u 300', NOBODY)).toEqual([tooFew, tooFew, '7,7,7']);
  }, 120_000);

  // A sanitizer takes terabytes of addresses for itself.
  describe.skipIf(process.env.LAZY_ATTENTION_SANITIZED === '1')('with few addresses', () => {
    test('the same under a limit of address space', async () => {
      expect(await crowd('-v 8000000')).toEqual([tooFew, tooFew, '7,7,7']);
    }, 120_000);

    test('with too little memory even for their scratch', async () => {
      const noScratch = [
        'OutOfMemoryError',
        expect.stringMatching(/^create: .*scratch of 1024 threads \(1073741824 bytes\); ask for fewer/),
        '',
      ];
      expect(await crowd('-v 2000000')).toEqual([noScratch, tooFew, '7,7,7']);
    }, 120_000);
  });
});
