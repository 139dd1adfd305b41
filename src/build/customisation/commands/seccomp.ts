import { endianness } from "node:os";

/** Numbers of add_key, request_key, keyctl and ptrace by what the kernel calls the architecture (AUDIT_ARCH_… of linux/audit.h). */
const REFUSED: readonly (readonly [architecture: number, calls: readonly number[]])[] = [
  [0xc000003e, [248, 249, 250, 101]], // x86-64
  [0x40000003, [286, 287, 288, 26]], // i386
  [0xc00000b7, [217, 218, 219, 117]], // AArch64
  [0xc00000f3, [217, 218, 219, 117]], // RISC-V, 64 bits
  [0x40000028, [309, 310, 311, 26]], // Arm
  [0xc0000015, [269, 270, 271, 26]], // PowerPC, 64 bits, little-endian
  [0x80000016, [278, 279, 280, 26]], // s390x
];

/** Of struct seccomp_data. */
const CALL_AT = 0;
const ARCHITECTURE_AT = 4;
/** Calls of x32 are those of x86-64 with this bit. */
const WITHOUT_X32 = 0xbfffffff;

const LOAD = 0x20;
const AND = 0x54;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const ALLOW = 0x7fff0000;
const FAIL_WITH_EPERM = 0x00050001;

/**
 * A filter of system calls: no namespace keeps a process from the keys of the session that started it, and those that make a sandbox are in it.
 * seccomp(2), linux/filter.h.
 */
export function seccompFilter(): Buffer {
  const program: (readonly [code: number, ifTrue: number, ifFalse: number, value: number])[] = [
    [LOAD, 0, 0, ARCHITECTURE_AT],
  ];
  for (const [architecture, calls] of REFUSED) {
    const block = [
      [LOAD, 0, 0, CALL_AT] as const,
      [AND, 0, 0, WITHOUT_X32] as const,
      ...calls.map((call, i) => [JUMP_IF_EQUAL, calls.length - i, 0, call] as const),
      [RETURN, 0, 0, ALLOW] as const,
      [RETURN, 0, 0, FAIL_WITH_EPERM] as const,
    ];
    program.push([JUMP_IF_EQUAL, 0, block.length, architecture], ...block);
  }
  program.push([RETURN, 0, 0, ALLOW]);
  const bytes = Buffer.alloc(program.length * 8);
  const isLittle = endianness() === "LE";
  for (const [i, [code, ifTrue, ifFalse, value]] of program.entries()) {
    if (isLittle) bytes.writeUInt16LE(code, i * 8);
    else bytes.writeUInt16BE(code, i * 8);
    bytes.writeUInt8(ifTrue, i * 8 + 2);
    bytes.writeUInt8(ifFalse, i * 8 + 3);
    if (isLittle) bytes.writeUInt32LE(value >>> 0, i * 8 + 4);
    else bytes.writeUInt32BE(value >>> 0, i * 8 + 4);
  }
  return bytes;
}
