// Runs the snippets of docs/clients.md against answers of crossgate and of the API: `node clients.mjs DOCS`.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const read = (name) => readFileSync(`${process.argv[2]}/${name}`, 'utf8')
const snippets = [...read('clients.md').matchAll(/```js\n([\s\S]*?)```/g)].map(([, text]) => text)
const snippet = (word) => snippets.find((text) => text.includes(word)) ?? assert.fail(`no snippet says ${word}`)

const problem = (status, body, headers = {}) => () =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/problem+json', ...headers } })
const json = (body, status = 200) => () => Response.json(body, { status })

/** Runs a snippet, then `after`, with these answers in turn, the last one for ever; what the page showed, and what was sent. */
async function run(text, after, answers, { session = true } = {}) {
  const shown = []
  const sent = []
  const page = {
    clerk: { session: session ? { getToken: async ({ skipCache } = {}) => (skipCache ? 'fresh' : 'clerk') } : null },
    legacyToken: async ({ refresh } = {}) => (refresh ? 'refreshed' : 'legacy'),
    showBanner: (after) => shown.push(`banner ${after}`),
    showLogin: () => shown.push('login'),
    offerClerk: (how) => shown.push(`offer ${how}`),
    setTimeout: (done, wait) => (shown.push(`waits ${wait}`), done()),
    fetch: async (path, init) => {
      sent.push(new Headers(init.headers).get('authorization'))
      return answers[Math.min(sent.length, answers.length) - 1]()
    },
  }
  const body = new Function(...Object.keys(page), `return (async () => {${text}\n${after}})()`)
  const value = await body(...Object.values(page))
  return { shown, sent: sent.map((line) => line?.replace('Bearer ', '')), value }
}

const asks = async (...given) => (await run(snippet('/auth/status'), '', ...given)).shown
const status = (action, more = {}) => json({ degraded: false, retryAfter: null, migration: { action }, ...more })
assert.deepEqual(await asks([status('none')]), [])
assert.deepEqual(await asks([status('sign_in')]), ['login'])
assert.deepEqual(await asks([status('step_up')]), ['offer step_up'])
assert.deepEqual(await asks([status('none', { degraded: true, retryAfter: 9 })]), ['banner 9'])
assert.deepEqual(await asks([problem(503, { code: 'overloaded' }, { 'retry-after': '4' })]), ['banner 4'])
assert.deepEqual(await asks([problem(400, { code: 'bad_header' })]), ['banner null'])
assert.deepEqual(await asks([json({ loggedIn: 'yes' })]), ['banner undefined'], 'a body of another form')

const codes = read('answers.md').matchAll(/^\| (401|503) \| `([a-z_]+)` \|/gm)
const known = { 401: new Set(), 503: new Set() }
for (const [, status, code] of codes) known[status].add(code)
const { value } = await run(snippet('const CODES'), 'return CODES', [])
for (const status of [401, 503]) assert.deepEqual(new Set(value[status]), known[status], 'the codes of answers.md')

const calls = async (answers, page) => {
  const { value, ...rest } = await run(snippet('async function call'), "return call('/x')", answers, page)
  return { status: value.status, ...rest }
}
const good = json({})
assert.deepEqual(await calls([good]), { status: 200, shown: [], sent: ['clerk'] })
for (const body of [{ status: 401 }, { code: 'E17' }, { code: 17 }, null, 'odd', []]) {
  assert.deepEqual(await calls([problem(401, body)]), { status: 401, shown: [], sent: ['clerk'] }, 'the API\'s own 401')
  assert.deepEqual(await calls([problem(503, body)]), { status: 503, shown: [], sent: ['clerk'] }, 'the API\'s own 503')
}
const torn = () => new Response('{', { status: 401, headers: { 'content-type': 'application/problem+json' } })
assert.deepEqual(await calls([torn]), { status: 401, shown: [], sent: ['clerk'] })
assert.deepEqual(await calls([json({ code: 'invalid' }, 401)]), { status: 401, shown: [], sent: ['clerk'] })
for (const code of ['clerk_expired', 'clerk_invalid', 'invalid', 'legacy_invalid']) {
  const bad = problem(401, { code })
  assert.deepEqual(await calls([bad, good]), { status: 200, shown: [], sent: ['clerk', 'fresh'] }, code)
  assert.deepEqual(await calls([bad]), { status: 401, shown: ['login'], sent: ['clerk', 'fresh'] }, code)
  const old = await calls([bad, good], { session: false })
  assert.deepEqual(old, { status: 200, shown: [], sent: ['legacy', 'refreshed'] }, code)
}
for (const code of ['no_credential', 'legacy_sealed']) {
  assert.deepEqual(await calls([problem(401, { code })]), { status: 401, shown: ['login'], sent: ['clerk'] }, code)
}
assert.deepEqual((await calls([problem(401, { code: 'step_up_clerk' })])).shown, ['offer step_up'])
for (const code of known[503]) {
  const answer = await calls([problem(503, { code }, { 'retry-after': '7' })])
  assert.deepEqual(answer, { status: 503, shown: ['banner 7'], sent: ['clerk'] }, code)
}

const convex = async (answers) => {
  const text = `${snippet('async function call')}\n${snippet('fetchAccessToken')}`
  const { value, shown } = await run(text, 'return fetchAccessToken()', answers)
  return [value, shown]
}
const later = problem(503, { code: 'clerk_outage' }, { 'retry-after': '7' })
const token = json({ token: 'assertion' })
assert.deepEqual(await convex([token]), ['assertion', []])
assert.deepEqual(await convex([problem(401, { code: 'no_credential' })]), [null, ['login']])
assert.deepEqual(await convex([later, token]), ['assertion', ['banner 7', 'waits 7000']], 'an outage signs nobody out')
const offline = () => { throw new TypeError('fetch failed') }
assert.deepEqual(await convex([offline, token]), ['assertion', ['waits 5000']])
