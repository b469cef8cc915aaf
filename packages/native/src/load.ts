/**
 * `createRequire` as Node has it. It is not imported: webpack would take what it is given for modules to bundle, and a name that is
 * put together for a whole folder of them.
 */
export function requireFrom(path: string): NodeJS.Require {
  return process.getBuiltinModule('node:module').createRequire(path);
}

/** Loads a binary. */
export function loadBinary(path: string): unknown {
  return requireFrom(path)(path);
}
