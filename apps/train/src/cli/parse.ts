import { InvalidArgumentError, Option } from 'commander';
import type { Value } from '../options/values.ts';

/** A parser for commander: a value that makes no sense is refused before anything starts. */
export function parserOf<T>(value: Value<T>): (text: string) => T {
  return (text) => {
    const read = value.read(text);
    if (read === undefined) throw new InvalidArgumentError(`expected ${value.expected}.`);
    return read;
  };
}

/** An option whose value is checked; the names of a choice stand in --help. */
export function checkedOption<T>(flags: string, help: string, value: Value<T> & { names?: readonly string[] }): Option {
  const option = new Option(flags, help);
  if (option.isBoolean()) return option;
  return value.names === undefined ? option.argParser(parserOf(value)) : option.choices(value.names);
}
