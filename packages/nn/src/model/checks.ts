import { ConfigError } from '../errors.ts';

/** @throws ConfigError for a key that nobody reads */
export function checkKeys(where: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new ConfigError(`${where}: config is ${shown(options)}; expected an object`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw new ConfigError(`${where}: unknown key '${key}'; expected ${known.join(', ')}`);
  }
}

/** @throws ConfigError */
export function checkSize(where: string, name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    throw new ConfigError(`${where}: ${name} is ${shown(value)}; expected a positive integer`);
  }
}

/** @throws ConfigError */
export function checkPositive(where: string, name: string, value: unknown): void {
  if (!Number.isFinite(value) || (value as number) <= 0) {
    throw new ConfigError(`${where}: ${name} is ${shown(value)}; expected a positive number`);
  }
}

/** @throws ConfigError */
export function checkBoolean(where: string, name: string, value: unknown): void {
  if (typeof value !== 'boolean') {
    throw new ConfigError(`${where}: ${name} is ${shown(value)}; expected true or false`);
  }
}

/** @throws ConfigError */
export function checkChoice(where: string, name: string, value: unknown, choices: readonly (string | null)[]): void {
  if (!(choices as readonly unknown[]).includes(value)) {
    const all = choices.map(shown);
    throw new ConfigError(
      `${where}: ${name} is ${shown(value)}; expected ${all.slice(0, -1).join(', ')} or ${all[all.length - 1]}`,
    );
  }
}

/** Indices of layers. @throws ConfigError */
export function checkLayers(where: string, name: string, value: unknown, numLayers: number): void {
  const fits = (layer: unknown) => Number.isSafeInteger(layer) && Number(layer) >= 0 && Number(layer) < numLayers;
  if (!Array.isArray(value) || !value.every(fits)) {
    const given = Array.isArray(value) ? `[${value.map(shown).join(', ')}]` : shown(value);
    throw new ConfigError(`${where}: ${name} is ${given}; expected layers from 0 to ${numLayers - 1}`);
  }
}

/** A value as messages show it. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  return typeof value === 'object' && value !== null ? JSON.stringify(value).slice(0, 80) : String(value);
}
