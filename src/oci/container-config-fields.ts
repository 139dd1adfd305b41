import { objectSchema, type Schema } from "../core/json-schema.js";

export type Shape = "string" | "boolean" | "integer" | "strings" | "string map" | "set" | "health check";

export type Shapes = Readonly<Record<string, { readonly shape: Shape; readonly description: string }>>;

export const HEALTH_CHECK_FIELDS: Shapes = {
  Test: { shape: "strings", description: "Command after CMD or CMD-SHELL, or NONE" },
  Interval: { shape: "integer", description: "Nanoseconds between two checks" },
  Timeout: { shape: "integer", description: "Nanoseconds that a check may take" },
  StartPeriod: { shape: "integer", description: "Nanoseconds at the start in which failures do not count" },
  StartInterval: { shape: "integer", description: "Nanoseconds between two checks at the start" },
  Retries: { shape: "integer", description: "Failures in a row that make a container unhealthy" },
};

/**
 * The `config` object of an image: every field of the image-spec ("Image Configuration"), and of Docker's image format Healthcheck,
 * OnBuild, Shell and StopTimeout. In the order they are written.
 */
export const CONTAINER_CONFIG_FIELDS: Shapes = {
  User: { shape: "string", description: "User (and :group) that the container runs as" },
  ExposedPorts: { shape: "set", description: 'Ports that the container listens on: {"80/tcp": {}}' },
  Env: { shape: "strings", description: "Environment, NAME=VALUE each" },
  Entrypoint: { shape: "strings", description: "Program that is run, and its first arguments" },
  Cmd: { shape: "strings", description: "Arguments of the entry point, or the program" },
  Healthcheck: { shape: "health check", description: "How Docker finds out whether the container works" },
  ArgsEscaped: { shape: "boolean", description: "Says how Windows reads Cmd" },
  Volumes: { shape: "set", description: 'Directories that are volumes: {"/data": {}}' },
  WorkingDir: { shape: "string", description: "Working directory" },
  Labels: { shape: "string map", description: 'Labels: {"org.opencontainers.image.version": "1"}' },
  StopSignal: { shape: "string", description: "Signal that stops the container" },
  Memory: { shape: "integer", description: "Limit of memory, which engines leave unheeded" },
  MemorySwap: { shape: "integer", description: "Limit of memory and swap, which engines leave unheeded" },
  CpuShares: { shape: "integer", description: "Share of the processors, which engines leave unheeded" },
  OnBuild: { shape: "strings", description: "Triggers of Dockerfile builds on top of the image" },
  StopTimeout: { shape: "integer", description: "Seconds after which Docker kills a container that is to stop" },
  Shell: { shape: "strings", description: "Shell of Dockerfile builds on top of the image" },
};

/** The JSON Schema of an image's `config`. */
export const CONTAINER_CONFIG_SCHEMA: Schema = schemaOf(CONTAINER_CONFIG_FIELDS);

function schemaOf(fields: Shapes): Schema {
  const properties = Object.entries(fields).map(([key, { shape, description }]) => [
    key,
    { description, ...shapeSchema(shape) },
  ]);
  return objectSchema(Object.fromEntries(properties) as Readonly<Record<string, Schema>>);
}

function shapeSchema(shape: Shape): Schema {
  switch (shape) {
    case "string":
    case "boolean":
    case "integer":
      return { type: shape };
    case "strings":
      return { type: "array", items: { type: "string" } };
    case "string map":
      return { type: "object", additionalProperties: { type: "string" } };
    case "set":
      return { type: "object", additionalProperties: { type: "object", maxProperties: 0 } };
    case "health check":
      return schemaOf(HEALTH_CHECK_FIELDS);
  }
}
