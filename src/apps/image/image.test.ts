import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { encodeImage, type Image } from './image.ts'
import { BUNDLES, programEntries } from './programs.ts'
import { encodeTar } from './tar.ts'
import { unpack } from './unpack.ts'

const ROOT = resolve(import.meta.dirname, '../../..')

const IMAGE: Image = {
  names: ['localhost/test:1.2', 'localhost/other:3'],
  architecture: 'amd64',
  config: { Entrypoint: ['/run'] },
  layers: ['ground', 'top'].map(created_by => ({
    created_by,
    entries: [{ path: created_by, mode: 0o644, body: { kind: 'file', bytes: Buffer.from(created_by) } }],
  })),
}

function inFolder(body: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'gingham-image-test-'))
  try {
    body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe('encodeImage', () => {
  it('names everything by its digest, down to the layers, for both ways of reading it', () =>
    inFolder(folder => {
      const { archive, digest } = encodeImage(IMAGE)
      unpack(archive, folder)
      const read = (path: string): Buffer => readFileSync(join(folder, path))
      const blobs = readdirSync(join(folder, 'blobs/sha256'))
      assert.equal(blobs.length, 4)
      for (const hex of blobs)
        assert.equal(
          createHash('sha256')
            .update(read(`blobs/sha256/${hex}`))
            .digest('hex'),
          hex,
        )
      const blob = (named: { digest: string; size: number }): Buffer => {
        const bytes = read(`blobs/sha256/${named.digest.replace('sha256:', '')}`)
        assert.equal(bytes.length, named.size)
        return bytes
      }
      const [entry, other] = JSON.parse(String(read('index.json'))).manifests
      assert.equal(other.digest, digest)
      assert.equal(other.annotations['io.containerd.image.name'], IMAGE.names[1])
      assert.equal(entry.digest, digest)
      assert.equal(entry.annotations['io.containerd.image.name'], IMAGE.names[0])
      const manifest = JSON.parse(String(blob(entry)))
      const config = JSON.parse(String(blob(manifest.config)))
      assert.deepEqual(config.config.Entrypoint, ['/run'])
      assert.deepEqual(
        config.rootfs.diff_ids,
        manifest.layers.map((layer: { digest: string }) => layer.digest),
      )
      const [saved] = JSON.parse(String(read('manifest.json')))
      assert.deepEqual(saved.RepoTags, IMAGE.names)
      assert.deepEqual(
        saved.Layers.map((path: string) => `sha256:${path.split('/').at(-1)}`),
        config.rootfs.diff_ids,
      )
    }))

  it('is the same image from the same input', () => assert.deepEqual(encodeImage(IMAGE), encodeImage(IMAGE)))
})

describe('the programs in the image', () => {
  it('are the same bytes twice, and start from the bundle', () => {
    const entries = programEntries(ROOT)
    assert.deepEqual(encodeTar(programEntries(ROOT)), encodeTar(entries))
    inFolder(folder => {
      unpack(encodeTar(entries), folder)
      const help = (name: string): string =>
        execFileSync(process.execPath, [join(folder, 'opt/gingham', name), '--help'], { encoding: 'utf8' })
      assert.match(help('agent.js'), /the node agent/)
      assert.match(help('install-cni.js'), /Installs the CNI plugin/)
      assert.match(help('gingham.js'), /Networking and network security/)
    })
  })

  it('include every file that a thread is started from', () => {
    const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter(f =>
      /(?<!\.test)\.ts$/.test(f),
    )
    const started = files.flatMap(file => {
      const text = readFileSync(join(ROOT, 'src', file), 'utf8')
      return [...text.matchAll(/\b(?:aside|startWorker)\('([^']+)', import\.meta\.url/g)].map(match => match[1]!)
    })
    assert.ok(started.length >= 3)
    for (const name of started) assert.ok(Object.hasOwn(BUNDLES, name), `${name} is not among the bundles`)
  })
})
