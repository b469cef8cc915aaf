import { spawn } from 'node:child_process';

const OPENERS: Partial<Record<NodeJS.Platform, readonly [command: string, ...args: string[]]>> = {
  darwin: ['open'],
  win32: ['cmd', '/c', 'start', ''],
};

/** Shows a file or address in the reader's browser. Where that cannot be done it says so, and the work goes on. */
export function openInBrowser(target: string): void {
  const [command, ...args] = OPENERS[process.platform] ?? ['xdg-open'];
  const child = spawn(command, [...args, target], { stdio: 'ignore', detached: true });
  child.on('error', () => process.stderr.write(`Could not start a browser ('${command}'); open ${target} yourself.\n`));
  child.unref();
}
