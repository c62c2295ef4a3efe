import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseOptions } from './options.ts'

describe('the lab’s command line', () => {
  it('has defaults', () => assert.deepEqual(parseOptions([]), { once: false, run: '/run/gingham', prefix: 'gingham' }))
  it('takes its options', () => {
    assert.deepEqual(parseOptions(['--once', '--run', '/run/x', '--prefix=second']), {
      once: true,
      run: '/run/x',
      prefix: 'second',
    })
  })
  it('shows help', () => {
    const help = parseOptions(['--help'])
    assert.ok('text' in help && help.code === 0 && help.text.includes('--once'))
  })
  it('says what is wrong', () => {
    for (const argv of [['--twice'], ['--prefix', 'A b'], ['--prefix', '../x'], ['--run', 'here'], ['extra']]) {
      const said = parseOptions(argv)
      assert.ok('text' in said && said.code === 2, argv.join(' '))
    }
  })
})
