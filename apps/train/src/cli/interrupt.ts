/** Exit codes that shells give to processes ended by these signals. */
const CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** What came of the signals that ask a process to end. */
export interface Interrupt {
  /** Aborts at the first. */
  readonly signal: AbortSignal;
  /** 0, or the exit code of the signal that came. */
  exitCode(): number;
  /** Gives the signals back. */
  end(): void;
}

/** Turns the first Ctrl-C (or SIGTERM, or the SIGHUP of a terminal that is closed) into an abort that lets work end well, and the second into an end at once. */
export function catchInterrupt(onFirst: () => void): Interrupt {
  const controller = new AbortController();
  let code = 0;
  const handlers = Object.entries(CODES).map(([name, exitCode]) => {
    const handler = () => {
      if (code !== 0) process.exit(exitCode);
      code = exitCode;
      onFirst();
      controller.abort();
    };
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  return {
    signal: controller.signal,
    exitCode: () => code,
    end: () => {
      for (const remove of handlers) remove();
    },
  };
}
