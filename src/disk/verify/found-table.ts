export const SECTOR = 512;
/** Of a partition in an MBR that stands for a GPT. */
export const PROTECTIVE = 0xee;

/** A partition as it is in a table; bytes. */
export interface FoundPartition {
  readonly number: number;
  readonly start: number;
  readonly size: number;
  readonly type: string;
  /** Of a GPT. */
  readonly uuid?: string;
  readonly name?: string;
  readonly bootable: boolean;
}

export interface FoundTable {
  readonly label: "dos" | "gpt";
  readonly diskId: string;
  /** By number. */
  readonly partitions: readonly FoundPartition[];
}
