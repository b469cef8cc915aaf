import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { npm, npmInstall } from './npm.mjs';
import { copyOthers } from './storage.mjs';

/** The newest that runs on Node 20. */
const VERDACCIO = '6.2.9';

/**
 * Installs verdaccio in `folder` unless it is there. It is no dependency of the repository: 300 packages that only a rehearsal
 * needs. @returns the path of its program, or null where npm cannot install it
 */
export function installVerdaccio(folder) {
  const place = join(folder, `verdaccio-${VERDACCIO}`);
  const program = join(place, 'node_modules', 'verdaccio', 'bin', 'verdaccio');
  if (existsSync(program)) return program;
  // A part of it asks for a dist-tag of node-fetch that mirrors of npm may lack.
  const manifest = { dependencies: { verdaccio: VERDACCIO }, overrides: { 'node-fetch': '2.7.0' } };
  mkdirSync(folder, { recursive: true });
  // Beside, for another rehearsal may do the same: the first that is whole stays.
  const beside = mkdtempSync(join(folder, 'installing-'));
  try {
    if (!npmInstall(beside, { manifest })) return null;
    renameSync(beside, place);
  } catch (error) {
    if (!existsSync(program)) throw error;
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
  return program;
}

/**
 * Starts a registry on localhost that takes the project's packages and passes on what it does not have from the registry that
 * npm is set to; `alone` it has nothing but what earlier ones left in `cache`. Its storage and configuration are in `folder`,
 * its own, so that several run at once; what it got from others goes back into `cache` when it is stopped.
 * @returns { url, npmrc, stop }; npmrc is what a user of it needs
 */
export async function startRegistry(program, { folder, cache, alone = false }) {
  const port = await freePort();
  const behind = alone ? null : upstream();
  const storage = join(folder, 'storage');
  mkdirSync(storage, { recursive: true });
  copyOthers(cache, storage);
  const ours = { access: ['$all'], publish: ['$all'], unpublish: ['$all'] };
  const config = {
    storage,
    auth: { htpasswd: { file: join(folder, 'htpasswd'), max_users: 10 } },
    // Two failures in five minutes would count as a registry that is away, and what it has as not there.
    uplinks: behind
      ? { npm: { ...behind.uplink, timeout: '60s', maxage: '1d', max_fails: 100, fail_timeout: '1s' } }
      : {},
    ...behind?.proxies,
    // Packages of the project are never asked of the world: a name that is wrong must fail.
    packages: {
      '@lazy-attention/*': ours,
      'lazy-attention': ours,
      '**': { access: ['$all'], proxy: behind ? ['npm'] : [] },
    },
    max_body_size: '200mb',
    web: { enable: false },
    log: { type: 'file', path: join(folder, 'log'), level: 'warn' },
  };
  writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config)); // JSON is YAML
  const child = spawn(
    process.execPath,
    [program, '--config', join(folder, 'config.yaml'), '--listen', `localhost:${port}`],
    { stdio: 'ignore', env: { ...process.env, ...behind?.env } },
  );
  const url = `http://localhost:${port}/`;
  const stop = () => {
    child.kill();
    if (!alone) copyOthers(storage, cache);
  };
  try {
    await answers(url, child);
  } catch (error) {
    stop();
    throw error;
  }
  return { url, npmrc: `registry=${url}\n//localhost:${port}/:_authToken=rehearsal\n`, stop };
}

/** How npm reaches its registry here: verdaccio reads none of npm's settings, and answers 404 where it cannot connect. */
function upstream() {
  // Outside of the repository: npm answers nothing within a workspace.
  const config = JSON.parse(npm(['config', 'list', '--json', '--long'], { cwd: tmpdir() }));
  const { registry: url, cafile, proxy, 'https-proxy': httpsProxy, 'strict-ssl': strict } = config;
  return {
    uplink: { url, strict_ssl: strict },
    proxies: { ...(proxy && { http_proxy: proxy }), ...(httpsProxy && { https_proxy: httpsProxy }) },
    env: cafile && !process.env.NODE_EXTRA_CA_CERTS ? { NODE_EXTRA_CA_CERTS: cafile } : {},
  };
}

async function answers(url, child) {
  for (const begin = Date.now(); Date.now() - begin < 60_000; ) {
    if (child.exitCode !== null) throw new Error(`verdaccio ended with ${child.exitCode}`);
    const answered = await fetch(`${url}-/ping`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error('verdaccio did not answer within 60 s');
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, 'localhost', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
