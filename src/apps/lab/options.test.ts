import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseOptions } from './options.ts'

describe('the lab’s command line', () => {
  const defaults = { once: false, run: '/run/gingham', prefix: 'gingham', kubernetes: false, proxy: 'nftables' }
  it('has defaults', () => assert.deepEqual(parseOptions([]), defaults))
  it('takes its options', () => {
    assert.deepEqual(parseOptions(['--once', '--run', '/run/x', '--prefix=second']), {
      ...defaults,
      once: true,
      run: '/run/x',
      prefix: 'second',
    })
    assert.deepEqual(parseOptions(['--kubernetes', '--proxy=iptables']), {
      ...defaults,
      run: '/var/lib/gingham-lab',
      kubernetes: true,
      proxy: 'iptables',
    })
  })
  it('shows help', () => {
    const help = parseOptions(['--help'])
    assert.ok('text' in help && help.code === 0 && help.text.includes('--once'))
  })
  it('says what is wrong', () => {
    for (const argv of [
      ['--twice'],
      ['--prefix', 'A b'],
      ['--prefix', '../x'],
      ['--run', 'here'],
      ['--proxy', 'ipvs'],
      ['extra'],
    ]) {
      const said = parseOptions(argv)
      assert.ok('text' in said && said.code === 2, argv.join(' '))
    }
  })
})
