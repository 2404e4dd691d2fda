// An API as it was before any gate: a login of its own, tokens of its own (HS256), checked by a public library. It knows
// nothing of Clerk nor of crossgate, and is not to be changed for either.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import jwt from 'jsonwebtoken'

const secret = readFileSync(process.env.SECRET_FILE)
const about = { issuer: 'https://old.example.com', audience: 'api' }
const users = { ada: { id: 42, org: 'acme', role: 'admin' }, bob: { id: 7, org: 'acme', role: 'member' } }
const invoices = { acme: ['one', 'two'] }

function login(name) {
  const user = Object.hasOwn(users, name) ? users[name] : undefined
  if (!user) return [401, { error: 'who?' }]
  const claims = { sub: String(user.id), uid: user.id, org: user.org, role: user.role }
  return [200, { token: jwt.sign(claims, secret, { algorithm: 'HS256', expiresIn: '1h', ...about }) }]
}

function answer(request) {
  if (request.method === 'POST' && request.url.startsWith('/login/')) return login(request.url.slice('/login/'.length))
  let claims
  try {
    claims = jwt.verify(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1], secret, {
      algorithms: ['HS256'],
      ...about,
    })
  } catch (problem) {
    return [401, { error: problem.message }]
  }
  if (!Number.isInteger(claims.uid)) return [401, { error: 'no token of ours' }]
  if (request.method !== 'GET' && claims.role !== 'admin') return [403, { error: 'admins only' }]
  return [200, { user: claims.uid, role: claims.role, invoices: invoices[claims.org] ?? [] }]
}

createServer((request, response) => {
  const [status, body] = answer(request)
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}).listen(Number(process.env.PORT), '127.0.0.1')
