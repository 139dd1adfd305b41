export {
  type BuildOptions,
  type BuildSummary,
  type BuiltLayer,
  buildPlannedImage,
  foreseeBuild,
} from "./build/build.js";
export { type CopyOptions, copyImages, foreseeCopy } from "./build/copy.js";
export type { RootRun, RootRunner } from "./build/customisation/root-script.js";
export type { DeliveryObserver, DeliveryOptions, ImageSummary, LayerSummary } from "./build/delivery.js";
export { digestLayers } from "./build/digest.js";
export {
  DOCKERTOOLS_FUNCTIONS,
  type DockertoolsFunction,
  translateDockertoolsArguments,
} from "./build/dockertools/arguments.js";
export { planDockertoolsImage } from "./build/dockertools/conf.js";
export { type ImagePlan, narSizeOf, type PlannedLayer } from "./build/image-plan.js";
export { type Input, pathInStore, recogniseInput } from "./build/input.js";
export {
  type BlobDigests,
  blobDigestsOf,
  type MeasuredBlob,
  type MeasuredImage,
  measurePlannedImage,
} from "./build/measure.js";
export { mergeImages, type NamedSource } from "./build/merge.js";
export { makeNixDatabase, type NixDatabaseSummary } from "./build/nix-database.js";
export { composeNix2containerImage } from "./build/nix2container/compose.js";
export { planNix2containerImage } from "./build/nix2container/image.js";
export {
  makeNix2containerLayers,
  type Nix2containerLayersRequest,
  type Nix2containerLayersResult,
} from "./build/nix2container/layers.js";
export type { LayerDigest } from "./build/pipeline/shared.js";
export { type BaseImage, openBaseImage, type PlannedBase, readSpecBase } from "./build/plan/base-image.js";
export { readClosure, readSpecClosure } from "./build/plan/closure.js";
export { customiseSpec, type PlanOptions } from "./build/plan/customised-spec.js";
export { planAllLayers, planSpecLayers } from "./build/plan/layers.js";
export { planImage } from "./build/plan/plan-image.js";
export {
  type PreviousLayoutOptions,
  type ReadPreviousOptions,
  readPreviousLayout,
  readSpecPrevious,
} from "./build/plan/previous-image.js";
export { type RebuildOptions, type RebuiltImage, rebuildImage } from "./build/rebuild.js";
export type { ShellOptions } from "./build/shell/options.js";
export { shellImageSpec } from "./build/shell/shell-image.js";
export type { ClosureSpec, VirtualMachineSpec } from "./build/spec/parts.js";
export { checkSpec, type ImageSpec, SPEC_SCHEMA } from "./build/spec/spec.js";
export { streamPlannedImage } from "./build/stream.js";
export {
  type BlobCache,
  type BlobCacheOptions,
  type CachedBlob,
  type CachedBlobSink,
  openBlobCache,
} from "./cache/blob-cache.js";
export { type DigestCache, type DigestCacheOptions, noCache, openDigestCache } from "./cache/digest-cache.js";
export { cacheDirectory } from "./cache/directory.js";
export { exportCache, type ImportSummary, importCache } from "./cache/exchange.js";
export { type CacheInfo, cacheInfo, type PruneOptions, type PruneSummary, pruneCache } from "./cache/maintenance.js";
export type { WriteProgress } from "./core/block-writer.js";
export { type ByteSink, fdSink, nullSink } from "./core/byte-sink.js";
export { parseByteSize } from "./core/byte-size.js";
export { type Compression, type CompressionName, codecOf, parseCompression } from "./core/compression.js";
export type { Digest } from "./core/digest.js";
export { type ErrorCode, nearest, OciNixError } from "./core/errors.js";
export type { GeneratedObject } from "./core/generated-object.js";
export { writeGeneratedObjects } from "./core/generated-object-writer.js";
export { formatJson, isJsonObject, type Json, type JsonObject, parseJson, toJson } from "./core/json.js";
export { readJsonFile, readTextFile, readTextStream } from "./core/json-file.js";
export { type OutputSink, openOutputSink, writeOutput } from "./core/output-sink.js";
export type { Ownership } from "./core/ownership.js";
export { goTimestamp } from "./core/timestamp.js";
export type { DiskBuildOptions, DiskSummary } from "./disk/build-disk.js";
export { checkDiskSpec } from "./disk/check-disk-spec.js";
export { buildDiskImage, runInVirtualMachine, verifyDiskImage } from "./disk/disk-images.js";
export type { DiskObserver } from "./disk/disk-observer.js";
export {
  type BootLoaderSpec,
  DISK_SPEC_SCHEMA,
  type DiskContent,
  type DiskSpec,
} from "./disk/disk-spec.js";
export { readDiskSpec } from "./disk/read-disk-spec.js";
export type { Firmware, VerifiedImage, VerifyDiskOptions } from "./disk/verify-image.js";
export { diffImages, type ImagesDiff } from "./examine/diff.js";
export type { FieldChange } from "./examine/diff-config.js";
export type { Attribute, FileChange, FileItem, FilesDiff } from "./examine/diff-files.js";
export type { LayerBlob, LayerPlace, LayersDiff } from "./examine/diff-layers.js";
export { type ExportOptions, type ExportSummary, exportImage } from "./examine/export.js";
export type { Finding, Severity } from "./examine/findings.js";
export type { FirstDifference, HeaderField } from "./examine/first-difference.js";
export { type InspectedImage, type InspectedLayer, inspectImages } from "./examine/inspect.js";
export { type ValidatedImage, validateImages } from "./examine/validate.js";
export type { Cause, ExpectedImage, ImageVerification, VerifiedLayer } from "./examine/verification.js";
export { codecHere, packingOf, type VerifyOptions, verifyImage } from "./examine/verify.js";
export { CostModel } from "./layers/cost-model.js";
export { type Alternative, explainPath, findInClosure, type PathExplanation } from "./layers/explain.js";
export { type Pipeline, parsePipeline } from "./layers/pipeline/parse.js";
export { type LayerContent, type LayerPlan, storePathsOf } from "./layers/plan.js";
export { DEFAULT_MAX_LAYERS, DEFAULT_STRATEGY, MAX_LAYERS, planLayers, STRATEGY_NAMES } from "./layers/plan-layers.js";
export type { PreviousLayer, PreviousLayout } from "./layers/previous.js";
export { type RebalanceAdvice, rebalanceAdvice } from "./layers/rebalance.js";
export { type Release, replay } from "./layers/replay.js";
export { type Amount, type LayerFate, type PathFate, pathFates, type Update, updateOf } from "./layers/update.js";
export { type Closure, createClosure, type StoreObject } from "./nix/closure.js";
export { type DatabaseTreeOptions, nixDatabaseTree } from "./nix/database-tree.js";
export { formatClosure, parseClosure } from "./nix/read-closure.js";
export type { StorePath } from "./nix/store-path.js";
export { linuxPlatform, parsePlatform } from "./oci/platform.js";
export type { PlanPageInput } from "./report/page-data.js";
export { formatPlanPage } from "./report/plan-page.js";
export { TAR_PROFILE_NAMES } from "./tar/profiles.js";
export type { DeliveredImage } from "./transport/deliver.js";
export type { ForeseenLayer } from "./transport/foresee.js";
export type { ImageSource, ImageTarget, StoredImage, StoredLayer } from "./transport/image.js";
export {
  formatNix2containerImage,
  formatNix2containerLayers,
  type Nix2containerImage,
  type Nix2containerLayer,
  parseNix2containerImage,
  parseNix2containerLayers,
} from "./transport/nix2container.js";
export { imageFromDirectory, imageFromManifest } from "./transport/nix2container-pulled.js";
export {
  checkNotOverwritten,
  isStandardOutput,
  onlyImage,
  openSource,
  openTarget,
  openTargets,
  type SourceOptions,
  type TargetOptions,
} from "./transport/open.js";
export { type ImageLock, lockOf, readLock, writeLock } from "./transport/registry/lock.js";
export { formatTransport, parseTransport, type TransportName } from "./transport/transport.js";
