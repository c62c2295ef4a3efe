import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { parseReport, printPage, tally } from './report.ts'

const XML = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5"><testsuite name="Kubernetes e2e suite">
<testcase name="[SynchronizedBeforeSuite]" classname="x" status="passed" time="1.5"></testcase>
<testcase name="[It] [sig-network] Netpol NetworkPolicy should &quot;allow&quot; a | b [Feature:NetworkPolicy] [Serial]" classname="x" status="passed" time="7.25"><system-err>noise</system-err></testcase>
<testcase name="[It] [sig-network] Netpol should deny" status="failed" time="61"><failure message="expected &lt;b&gt; but&#xA;got c" type="failed">trace</failure></testcase>
<testcase name="[It] [sig-network] Netpol needs SCTP" status="skipped" time="0.5"><skipped message="skipped - no SCTP here"></skipped></testcase>
<testcase name="[It] [sig-apps] Deployment other" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
</testsuite></testsuites>`

describe('a report of the suite', () => {
  it('gives the specs that were run or skipped themselves, with their words', () => {
    assert.deepEqual(parseReport(XML), [
      {
        name: '[sig-network] Netpol NetworkPolicy should "allow" a | b [Feature:NetworkPolicy]',
        outcome: 'passed',
        seconds: 7.25,
        words: '',
      },
      { name: '[sig-network] Netpol needs SCTP', outcome: 'skipped', seconds: 0.5, words: 'no SCTP here' },
      { name: '[sig-network] Netpol should deny', outcome: 'failed', seconds: 61, words: 'expected <b> but\ngot c' },
    ])
  })

  it('is printed with its counts, its failures and a row for each spec', () => {
    const specs = parseReport(XML)
    assert.deepEqual(tally(specs), { passed: 1, failed: 1, skipped: 1 })
    const page = printPage({ specs, leftOut: [{ what: 'SCTP', why: 'no sockets' }], facts: [['Kubernetes', '1.37.2']] })
    assert.match(page, /\*\*1 passed, 1 failed, 1 skipped\.\*\*/)
    assert.match(page, /- \[sig-network\] Netpol should deny: expected <b> but got c/)
    assert.match(page, /allow" a \\\| b/)
    assert.equal(page.match(/^\| \[sig/gm)?.length, 3)
  })

  it('of anything at all is read without an error', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom(...XML.split(/(?=<)/)))), parts => {
        for (const { seconds } of parseReport(parts.join(''))) assert.equal(typeof seconds, 'number')
      }),
    )
  })
})
