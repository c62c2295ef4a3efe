import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, it } from 'node:test'

const ROOT = resolve(import.meta.dirname, '../../..')

describe('install-cni', () => {
  it('installs the client under its names and a network that chains what is there; a second time changes nothing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'gingham-install-'))
    try {
      const [bin, config] = [join(folder, 'bin'), join(folder, 'net.d')]
      mkdirSync(bin)
      writeFileSync(join(bin, 'portmap'), '')
      const install = (): string =>
        execFileSync(
          process.execPath,
          [
            join(ROOT, 'src/apps/cni/install.ts'),
            '--client',
            join(ROOT, 'build/cni/gingham'),
            '--bin',
            bin,
            '--config',
            config,
            '--ipv6',
          ],
          { encoding: 'utf8' },
        )
      assert.match(install(), /bandwidth is not there: pods get no bandwidth/)
      assert.deepEqual(readdirSync(bin).sort(), ['calico', 'calico-ipam', 'gingham', 'portmap'])
      assert.deepEqual(readdirSync(config), ['10-calico.conflist'])
      assert.equal(statSync(join(bin, 'calico')).mode & 0o111, 0o111)
      const list = JSON.parse(readFileSync(join(config, '10-calico.conflist'), 'utf8'))
      assert.deepEqual(
        list.plugins.map(({ type }: { type: string }) => type),
        ['calico', 'portmap'],
      )
      assert.deepEqual(list.plugins[0].ipam, { type: 'calico-ipam', assign_ipv4: 'true', assign_ipv6: 'true' })
      const times = () => readdirSync(bin).map(name => statSync(join(bin, name)).mtimeMs)
      const before = times()
      assert.doesNotMatch(install(), /^installed/m)
      assert.deepEqual(times(), before)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
