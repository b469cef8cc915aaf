/** Section types of ELF. */
const DYNAMIC = 6;
const DYNAMIC_SYMBOLS = 11;
const VERSIONS_NEEDED = 0x6ffffffe;

/** The text that ends with a zero byte at `at`. */
export function textAt(bytes, at) {
  return bytes.toString('latin1', at, bytes.indexOf(0, at));
}

/**
 * What a shared library for Linux (ELF, 64 bits) needs and gives.
 *
 * @returns {{ needed: string[], exported: string[], imported: string[], versions: string[] }} libraries, symbols of others that it
 *   looks up, its own that others may look up, and the versions of symbols that it wants, 'GLIBC_2.14'
 */
export function readElf(bytes) {
  const count = bytes.readUInt16LE(60);
  const sections = Array.from({ length: count }, (_, i) => sectionAt(bytes, offset64(bytes, 40) + i * 64));
  const of = (type) => sections.filter((section) => section.type === type);
  const strings = ({ link }) => sections[link].offset;

  const symbols = of(DYNAMIC_SYMBOLS).flatMap((section) =>
    entries(section, 24).map((at) => ({
      name: textAt(bytes, strings(section) + bytes.readUInt32LE(at)),
      defined: bytes.readUInt16LE(at + 6) !== 0,
      local: bytes[at + 4] >> 4 === 0,
    })),
  );
  const names = (defined) => symbols.filter((s) => s.defined === defined && !s.local).map(({ name }) => name);
  return {
    needed: of(DYNAMIC).flatMap((section) =>
      entries(section, 16)
        .filter((at) => offset64(bytes, at) === 1) // DT_NEEDED
        .map((at) => textAt(bytes, strings(section) + offset64(bytes, at + 8))),
    ),
    exported: names(true),
    imported: names(false),
    versions: [...new Set(of(VERSIONS_NEEDED).flatMap((section) => versionsOf(bytes, section, strings(section))))],
  };
}

function sectionAt(bytes, at) {
  return {
    type: bytes.readUInt32LE(at + 4),
    offset: offset64(bytes, at + 24),
    size: offset64(bytes, at + 32),
    link: bytes.readUInt32LE(at + 40),
    info: bytes.readUInt32LE(at + 44),
  };
}

function entries({ offset, size }, each) {
  return Array.from({ length: size / each }, (_, i) => offset + i * each);
}

/** One list for each library, each with one entry for each version: both are chains of offsets. */
function versionsOf(bytes, { offset, info }, strings) {
  const found = [];
  let library = offset;
  for (let i = 0; i < info; i++) {
    let version = library + bytes.readUInt32LE(library + 8);
    for (let j = 0; j < bytes.readUInt16LE(library + 2); j++) {
      found.push(textAt(bytes, strings + bytes.readUInt32LE(version + 8)));
      version += bytes.readUInt32LE(version + 12);
    }
    library += bytes.readUInt32LE(library + 12);
  }
  return found;
}

function offset64(bytes, at) {
  return Number(bytes.readBigUInt64LE(at));
}
