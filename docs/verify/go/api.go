// An API that believes nothing but the assertion of the gate in front of it: docs/verify.md.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

const (
	life   = 10 * time.Minute // of the key set
	retry  = 5 * time.Second  // after a fetch that failed
	leeway = 5 * time.Second  // between two clocks
)

var (
	cooldown = seconds("JWKS_COOLDOWN", 30*time.Second) // between two looks for a key id that is not in the set
	timeout  = seconds("JWKS_TIMEOUT", 5*time.Second)   // of a fetch
)

func seconds(name string, standard time.Duration) time.Duration {
	given := os.Getenv(name)
	if given == "" {
		return standard
	}
	value, err := time.ParseDuration(given + "s")
	if err != nil || value <= 0 {
		log.Fatalf("%s must be seconds", name)
	}
	return value
}

// The gate's keys cannot be had: nobody's fault, so 503 and not 401.
var errUnavailable = errors.New("the key set cannot be fetched")
var errUnauthorized = errors.New("no good assertion")
var errNotHeld = errors.New("the key set must be fetched")

// Keys is the gate's published key set, kept for ten minutes.
type Keys struct {
	url      string
	fetching sync.Mutex // one fetch at a time
	mutex    sync.Mutex // over the fields below; never held while the set is fetched
	keys     map[string]key
	fetched  time.Time
	failed   time.Time
}

type key struct {
	algorithm string
	public    interface{}
}

// Get finds a key by its id. Who asks for a key that is held waits for no fetch: else forged key ids would hold up
// everybody while the key server hangs.
func (k *Keys) Get(id string) (key, error) {
	if found, err := k.held(id); err != errNotHeld {
		return found, err
	}
	k.fetching.Lock()
	defer k.fetching.Unlock()
	// The one before may have asked already.
	if found, err := k.held(id); err != errNotHeld {
		return found, err
	}
	keys, err := fetch(k.url)
	k.fill(keys, err)
	return k.held(id)
}

func (k *Keys) held(id string) (key, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	found, ok := k.keys[id]
	switch age := time.Since(k.fetched); {
	case ok && age < life:
		return found, nil
	case age < cooldown:
		return key{}, errUnauthorized
	case time.Since(k.failed) < retry:
		return key{}, errUnavailable
	}
	return key{}, errNotHeld
}

func (k *Keys) fill(keys map[string]key, err error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if err != nil {
		log.Print(err)
		k.failed = time.Now()
		return
	}
	k.keys, k.fetched = keys, time.Now()
}

var client = &http.Client{
	Timeout:       timeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func fetch(url string) (map[string]key, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the key set is answered with %s", response.Status)
	}
	var set struct {
		Keys []struct{ Kty, Kid, Use, Alg, Crv, N, E, X, Y string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&set); err != nil {
		return nil, err
	}
	keys := map[string]key{}
	for _, jwk := range set.Keys {
		if jwk.Kid == "" || jwk.Use != "sig" {
			continue
		}
		switch {
		case jwk.Kty == "EC" && jwk.Crv == "P-256" && jwk.Alg == "ES256":
			public := &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(jwk.X), Y: number(jwk.Y)}
			if public.Curve.IsOnCurve(public.X, public.Y) {
				keys[jwk.Kid] = key{jwk.Alg, public}
			}
		case jwk.Kty == "RSA" && jwk.Alg == "RS256":
			public := &rsa.PublicKey{N: number(jwk.N), E: int(number(jwk.E).Int64())}
			if public.N.BitLen() >= 2048 && public.E >= 65537 {
				keys[jwk.Kid] = key{jwk.Alg, public}
			}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key that can be used")
	}
	return keys, nil
}

func number(text string) *big.Int {
	bytes, _ := base64.RawURLEncoding.DecodeString(text)
	return new(big.Int).SetBytes(bytes)
}

// Claims of an assertion.
type Claims struct {
	Issuer   string      `json:"iss"`
	Audience string      `json:"aud"` // exactly one: a list is no string, and refused
	Subject  string      `json:"sub"`
	Expires  json.Number `json:"exp"`
	Org      *string     `json:"org"`
	Role     *string     `json:"role"`
}

// Valid is asked by the parser, beside the signature.
func (c Claims) Valid() error {
	expires, err := c.Expires.Int64()
	switch {
	case err != nil || !time.Now().Before(time.Unix(expires, 0).Add(leeway)):
		return errors.New("expired")
	case c.Issuer != os.Getenv("ISSUER"), c.Audience != os.Getenv("AUDIENCE"), c.Subject == "":
		return errors.New("of somebody else, or for somebody else")
	}
	return nil
}

// Never what the token asks for: no `none`, no HS256 by a public key.
var parser = jwt.NewParser(jwt.WithValidMethods([]string{"ES256", "RS256"}))

// caller says who is calling: the claims of a good assertion.
func caller(request *http.Request, keys *Keys) (*Claims, error) {
	lines := request.Header.Values("x-crossgate-assertion")
	if len(lines) == 0 {
		for _, line := range request.Header.Values("authorization") {
			if len(line) > 7 && strings.EqualFold(line[:7], "Bearer ") {
				lines = append(lines, line[7:])
			}
		}
	}
	if len(lines) != 1 {
		return nil, errUnauthorized
	}
	claims, lookup := &Claims{}, error(nil)
	token, err := parser.ParseWithClaims(lines[0], claims, func(token *jwt.Token) (interface{}, error) {
		id, ok := token.Header["kid"].(string)
		if !ok || token.Header["typ"] != "JWT" {
			return nil, errUnauthorized
		}
		var found key
		if found, lookup = keys.Get(id); lookup != nil {
			return nil, lookup
		}
		if found.algorithm != token.Method.Alg() {
			return nil, errUnauthorized
		}
		return found.public, nil
	})
	switch {
	case errors.Is(lookup, errUnavailable):
		return nil, errUnavailable
	case err != nil || !token.Valid:
		return nil, errUnauthorized
	}
	return claims, nil
}

func main() {
	keys := &Keys{url: os.Getenv("JWKS_URL")}
	if keys.url == "" || os.Getenv("ISSUER") == "" || os.Getenv("AUDIENCE") == "" {
		log.Fatal("JWKS_URL, ISSUER and AUDIENCE must be set")
	}
	api := http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		answer := func(status int, body map[string]interface{}) {
			response.Header().Set("content-type", "application/json")
			response.WriteHeader(status)
			json.NewEncoder(response).Encode(body)
		}
		person, err := caller(request, keys)
		switch {
		case err == nil:
			answer(200, map[string]interface{}{"sub": person.Subject, "org": person.Org, "role": person.Role})
		case errors.Is(err, errUnavailable):
			response.Header().Set("retry-after", "5")
			answer(503, map[string]interface{}{"error": "unavailable"})
		default:
			response.Header().Set("www-authenticate", "Bearer")
			answer(401, map[string]interface{}{"error": "unauthorized"})
		}
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	server := &http.Server{Addr: "127.0.0.1:" + port, Handler: api, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
