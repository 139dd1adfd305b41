/** A JSON Schema, draft 2020-12, or a part of one: keywords and their values, for `JSON.stringify`. */
export type Schema = Readonly<Record<string, unknown>>;

/** The schema of an object that has no other fields than these. One that is not required may be null, which is as good as missing. */
export function objectSchema(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return {
    type: "object",
    properties: Object.fromEntries(
      Object.entries(properties).map(([key, schema]) => [key, required.includes(key) ? schema : orNull(schema)]),
    ),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  };
}

/** Keywords that say nothing of what a value may be. */
const ANNOTATIONS = new Set(["description", "default", "examples"]);

/** What a schema says, or null. */
function orNull(schema: Schema): Schema {
  const { type } = schema;
  // Other keywords than enum are of values of their type only.
  if (type !== undefined && schema.enum === undefined) return { ...schema, type: [type, "null"].flat() };
  const entries = Object.entries(schema);
  const about = entries.filter(([key]) => ANNOTATIONS.has(key));
  const constraints = entries.filter(([key]) => !ANNOTATIONS.has(key));
  return { ...Object.fromEntries(about), anyOf: [Object.fromEntries(constraints), { type: "null" }] };
}
