import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAddress, readLink, readTokenOrLink } from '../js/link.js';

test('an address says the broker, the room and the token', () => {
  assert.deepEqual(readAddress('http://127.0.0.1:8080/r/4d7f5fe9#abc-_1'), {
    base: 'http://127.0.0.1:8080/',
    room: '4d7f5fe9',
    token: 'abc-_1',
  });
});

test('a broker below a path keeps its prefix', () => {
  assert.equal(readAddress('https://lab.example/halyard/r/ab12#t').base, 'https://lab.example/halyard/');
  assert.equal(readAddress('https://lab.example/halyard/').base, 'https://lab.example/halyard/');
});

test('the start page has no room, and a reloaded room no token', () => {
  assert.equal(readAddress('http://h/').room, null);
  assert.equal(readAddress('http://h/r/').room, null);
  assert.equal(readAddress('http://h/r/a%20b').room, null);
  assert.equal(readAddress('http://h/r/ab12').token, null);
});

test('what is no join link says what is wrong with it', () => {
  assert.match(readLink('rover').error, /not a link/);
  assert.match(readLink('ftp://h/r/ab#t').error, /http/);
  assert.match(readLink('http://h/ab#t').error, /no room/);
  assert.match(readLink('http://h/r/ab').error, /no token/);
  assert.equal(readLink('  http://h/r/ab#t\n').place.room, 'ab');
});

test('a token may be pasted alone, with its # or in its whole link', () => {
  assert.deepEqual(readTokenOrLink('t0ken', 'ab'), { token: 't0ken' });
  assert.deepEqual(readTokenOrLink(' #t0ken ', 'ab'), { token: 't0ken' });
  assert.deepEqual(readTokenOrLink('http://h/r/ab#t0ken', 'ab'), { token: 't0ken' });
  assert.match(readTokenOrLink('http://h/r/cd#t0ken', 'ab').error, /room cd/);
  assert.match(readTokenOrLink('', 'ab').error, /token/);
  assert.match(readTokenOrLink('two words', 'ab').error, /token/);
});
