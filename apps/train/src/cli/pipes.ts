/** Errors of a stream whose reader is gone: a pipe that was closed, a terminal that was hung up. */
const GONE = ['EPIPE', 'EIO'];

let goesOn = false;

/** From now on the work goes on to its end when nobody reads what it prints: what it writes to the disk is what counts. */
export function goOnWithoutReaders(): void {
  goesOn = true;
}

/**
 * A reader of the output that went away ends a command that only prints. One of standard error, where progress is told, ends nothing:
 * the output would be cut short with the exit code of success. Anything else that cannot be printed is an error.
 */
export function watchPipes(): void {
  for (const [name, stream] of [
    ['output', process.stdout],
    ['error', process.stderr],
  ] as const) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (GONE.includes(error.code ?? '')) {
        if (!goesOn && stream === process.stdout) process.exit(0);
        return;
      }
      if (stream !== process.stderr) {
        process.stderr.write(`error [OUTPUT] standard ${name} cannot be written: ${error.message}\n`);
      }
      process.exit(1);
    });
  }
}
