import { ConfigError, type KeyName } from '../errors.ts';

/** The error of a key: `fault` says what is wrong, by what keys are called, and `fix` what else a program can do. */
export function keyError(where: string, key: string, fault: (nameOf: KeyName) => string, fix = ''): ConfigError {
  return new ConfigError(`${where}: ${fault((name) => name)}${fix}`, key, fault);
}

/** The error of a key whose value is not what it may be. */
export function valueError(where: string, key: string, value: string, expected: string): ConfigError {
  return keyError(where, key, (nameOf) => `${nameOf(key)} is ${value}; expected ${expected}`);
}

/** @throws ConfigError for a key that nobody reads */
export function checkKeys(where: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new ConfigError(`${where}: config is ${shown(options)}; expected an object`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw keyError(where, key, (nameOf) => `unknown key '${nameOf(key)}'; expected ${known.map(nameOf).join(', ')}`);
    }
  }
}

/** @throws ConfigError */
export function checkSize(where: string, name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    throw valueError(where, name, shown(value), 'a positive integer');
  }
}

/** @throws ConfigError */
export function checkPositive(where: string, name: string, value: unknown): void {
  if (!Number.isFinite(value) || (value as number) <= 0) {
    throw valueError(where, name, shown(value), 'a positive number');
  }
}

/** @throws ConfigError */
export function checkBoolean(where: string, name: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw valueError(where, name, shown(value), 'true or false');
  }
}

/** @throws ConfigError */
export function checkChoice(where: string, name: string, value: unknown, choices: readonly (string | null)[]): void {
  if (!(choices as readonly unknown[]).includes(value)) {
    const all = choices.map(shown);
    throw valueError(where, name, shown(value), `${all.slice(0, -1).join(', ')} or ${all[all.length - 1]}`);
  }
}

/** Indices of layers. @throws ConfigError */
export function checkLayers(where: string, name: string, value: unknown, numLayers: number): void {
  const fits = (layer: unknown) => Number.isSafeInteger(layer) && Number(layer) >= 0 && Number(layer) < numLayers;
  if (!Array.isArray(value) || !value.every(fits)) {
    const given = Array.isArray(value) ? `[${value.map(shown).join(', ')}]` : shown(value);
    throw valueError(where, name, given, `layers from 0 to ${numLayers - 1}`);
  }
}

/** A value as messages show it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  return typeof value === 'object' && value !== null ? JSON.stringify(value).slice(0, 80) : String(value);
}
