/** A failure is waited for so long (milliseconds); some launchers end with the browser only. */
const PATIENCE = 1000;

/** Shows a file or address in the reader's browser. Where that cannot be done it says so, and the work goes on. */
export function openInBrowser(target: string): void {
  const failed = () => process.stderr.write(`Could not start a browser; open ${target} yourself.\n`);
  // Loaded only now: few commands need it.
  const launched = import('open').then(({ default: open }) => open(target));
  launched.then((launcher) => {
    if (launcher.exitCode !== null) return;
    launcher.ref();
    const timer = setTimeout(() => launcher.unref(), PATIENCE);
    launcher.once('exit', (code) => {
      clearTimeout(timer);
      if (code !== null && code !== 0) failed();
    });
  }, failed);
}
