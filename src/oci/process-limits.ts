/** Longest argument or environment entry (`NAME=value`) that Linux starts a program with where pages have 4 KiB, in bytes. execve(2), "Limits". */
export const MAX_WORD = 32 * 4096 - 1;

/** Bytes of all arguments and the environment together, where the stack may have 8 MiB, which is the default. */
export const MAX_WORDS = 2 * 1024 * 1024;
