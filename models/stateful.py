"""What recurrent layers share: a state that outlives the call and can be saved."""

from chainer import Link, Serializer, as_variable
from chainer.device_resident import DeviceResidentsVisitor
from chainer.serializer import AbstractSerializer


class Stateful(Link):
    """Mix-in for a link that holds its state in the attributes ``state_names``.

    Each is a Variable, or None before the first call. The state is not a parameter: model files
    leave it out, copies of a link continue from it independently, and snapshots keep it through
    :meth:`serialize_state`.
    """

    state_names: tuple[str, ...] = ("h",)

    def reset_state(self) -> None:
        """Forget everything read so far."""
        for name in self.state_names:
            setattr(self, name, None)

    def device_resident_accept(self, visitor: DeviceResidentsVisitor) -> None:
        """Take the state along when the link moves to another device."""
        super().device_resident_accept(visitor)
        for name in self.state_names:
            state = getattr(self, name)
            if state is not None:
                visitor.visit_variable(state)

    def serialize_state(self, serializer: AbstractSerializer) -> None:
        """Save or restore the state.

        An absent state is written as an empty array: None would need pickle.
        """
        for name in self.state_names:
            state = getattr(self, name)
            if isinstance(serializer, Serializer):
                serializer(name, self.xp.empty(0) if state is None else state.array)
            else:
                array = serializer(name, None)
                if array is not None:  # None where a lenient deserializer finds nothing
                    state = as_variable(self.device.send(array)) if array.size else None
                    setattr(self, name, state)
