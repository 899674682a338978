"""Private servers of the engines, on loopback: each with a folder and ports of its own, and gone at the end.

``postgres``, ``redis`` and ``etcd`` have a ``running()`` each, and what they give can be killed, paused and started
again. They are real servers with all their durability switched on, for that is what is compared. A server that is not
installed is ``Missing``, which says how to get it.
"""
