// A container image as one file that every runtime imports: an OCI image layout, with the manifest.json of `docker save`
// beside it. Written by hand, because it is a few JSON documents that name each other by digest, and needs no daemon.
import { createHash } from 'node:crypto'
import { encodeTar, type TarEntry } from './tar.ts'

export type ImageConfig = {
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Env?: readonly string[]
  readonly WorkingDir?: string
  readonly User?: string
  readonly Labels?: Readonly<Record<string, string>>
}

export type Image = {
  /** As manifests name it, such as `localhost/gingham:0.1.0`; mostly one. */
  readonly names: readonly string[]
  /** As Go names it: amd64, arm64. */
  readonly architecture: string
  readonly config: ImageConfig
  /** From the ground up; what changes seldom comes first. */
  readonly layers: readonly { readonly created_by: string; readonly entries: readonly TarEntry[] }[]
}

const TYPES = {
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
} as const

type Blob = { readonly hex: string; readonly bytes: Uint8Array }

const blobOf = (bytes: Uint8Array): Blob => ({ hex: createHash('sha256').update(bytes).digest('hex'), bytes })
const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const blobPath = ({ hex }: Blob): string => `blobs/sha256/${hex}`
const descriptor = (mediaType: string, { hex, bytes }: Blob) => ({
  mediaType,
  digest: `sha256:${hex}`,
  size: bytes.length,
})
const file = (path: string, bytes: Uint8Array): TarEntry => ({ path, mode: 0o644, body: { kind: 'file', bytes } })

/** The archive, and the digest by which a registry or a node would know the image. */
export function encodeImage(image: Image): { readonly archive: Uint8Array; readonly digest: string } {
  const layers = image.layers.map(layer => blobOf(encodeTar(layer.entries)))
  const created = new Date(0).toISOString()
  const config = blobOf(
    json({
      architecture: image.architecture,
      os: 'linux',
      created,
      config: image.config,
      rootfs: { type: 'layers', diff_ids: layers.map(({ hex }) => `sha256:${hex}`) },
      history: image.layers.map(({ created_by }) => ({ created, created_by })),
    }),
  )
  const manifest = blobOf(
    json({
      schemaVersion: 2,
      mediaType: TYPES.manifest,
      config: descriptor(TYPES.config, config),
      layers: layers.map(layer => descriptor(TYPES.layer, layer)),
    }),
  )
  const index = {
    schemaVersion: 2,
    mediaType: TYPES.index,
    manifests: image.names.map(name => ({
      ...descriptor(TYPES.manifest, manifest),
      annotations: {
        // What `ctr images import` calls it, and the tag as the OCI layout says it.
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
      },
    })),
  }
  const archive = encodeTar([
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    file('index.json', json(index)),
    file('manifest.json', json([{ Config: blobPath(config), RepoTags: image.names, Layers: layers.map(blobPath) }])),
    ...[config, manifest, ...layers].map(blob => file(blobPath(blob), blob.bytes)),
  ])
  return { archive, digest: `sha256:${manifest.hex}` }
}
