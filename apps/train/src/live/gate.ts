/** Lets work through in batches: the first at once, what comes soon after together and later. */
export interface Gate {
  /** Does `work` now, or with all that waits when the gate opens again. */
  pass(work: () => void): void;
  /** Does what waits now. */
  flush(): void;
}

/**
 * A gate that opens once per `schedule`, which calls back after its pause. Whoever asks in a loop waits for each answer,
 * so that however many ask, the work done is that of the openings.
 */
export function createGate(schedule: (open: () => void) => void): Gate {
  let closed = false;
  let waiting: (() => void)[] = [];
  const flush = () => {
    const now = waiting;
    waiting = [];
    for (const work of now) work();
  };
  const open = () => {
    closed = waiting.length > 0;
    if (closed) schedule(open);
    flush();
  };
  return {
    pass(work) {
      if (closed) {
        waiting.push(work);
        return;
      }
      closed = true;
      schedule(open);
      work();
    },
    flush,
  };
}
